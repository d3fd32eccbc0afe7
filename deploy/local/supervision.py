"""The supervisor of the local stack: its configuration, its daemon, and calls to it."""

import contextlib
import http.client
import os
import re
import signal
import stat
import subprocess
import sys
import time
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import psutil
from supervisor.xmlrpc import SupervisorTransport

from deploy.commands import ROOT
from deploy.errors import DeployError
from deploy.local.configuration import make_configuration, socket_path
from deploy.local.programs import Stack
from deploy.logs import last_lines

ALIVE = frozenset({"STARTING", "RUNNING"})


class SupervisionError(DeployError):
    """A supervisor that does not do what it should; the message says why."""


@dataclass(frozen=True)
class ProgramState:
    """What the supervisor knows of one program.

    Attributes:
        word: Its name for the state, e.g. RUNNING, BACKOFF, EXITED.
        pid: None if no process runs.
        started_at: Unix time of the last start.
        error: Why it could not be started, if so.
    """

    word: str
    pid: int | None
    started_at: float
    error: str

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.word in ALIVE


class Supervisor:
    """One stack's supervisord."""

    def __init__(self, stack: Stack) -> None:
        """Name the supervisor of a stack; nothing is started."""
        self.stack = stack
        self.socket = socket_path(stack.state)
        self._configuration_file = stack.state / "supervisord.conf"
        self._pid_file = stack.state / "supervisord.pid"

    @property
    def url(self) -> str:
        """Its address; every process that it starts has it as SUPERVISOR_SERVER_URL."""
        return f"unix://{self.socket}"

    def find(self) -> psutil.Process | None:
        """Find its process: the pid file may name one that is long gone, or somebody else's."""
        try:
            process = psutil.Process(int(self._pid_file.read_text()))
            if str(self._configuration_file) in process.cmdline():
                return process
        except (OSError, ValueError, psutil.Error):
            pass
        return None

    def has_current_configuration(self) -> bool:
        """Whether it was started with what the settings are now."""
        try:
            text = self._configuration_file.read_text()
        except FileNotFoundError:
            return False
        return text == make_configuration(self.stack, self.socket)

    def start(self) -> None:
        """Start the daemon, without any program.

        Raises:
            SupervisionError: If it does not come up.
        """
        _make_private_folder(self.socket.parent, self.stack.state)
        self.socket.unlink(missing_ok=True)  # left by one that was killed
        self._configuration_file.write_text(make_configuration(self.stack, self.socket))
        result = subprocess.run(
            [sys.executable, "-m", "supervisor.supervisord", "-c", self._configuration_file],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd=ROOT,
            env=dict(self.stack.settings.environment),
            check=False,
        )
        deadline = time.monotonic() + 15
        while result.returncode == 0 and time.monotonic() < deadline:
            with contextlib.suppress(SupervisionError):
                self._call("getState")
                return
            time.sleep(0.05)
        raise SupervisionError(f"supervisord did not start: see {self.stack.log('supervisord')}")

    def states(self) -> dict[str, ProgramState]:
        """Fetch the state of every program; empty if the supervisor does not run.

        Raises:
            SupervisionError: If it runs and does not answer.
        """
        if self.find() is None:
            return {}
        answer = cast("list[dict[str, Any]]", self._call("getAllProcessInfo"))
        return {
            info["name"]: ProgramState(
                word=info["statename"],
                pid=info["pid"] or None,
                started_at=info["start"],
                error=info["spawnerr"],
            )
            for info in answer
        }

    def describe_exit(self, name: str) -> str:
        """Say how a program ended last, e.g. `exit status 1` or `terminated by SIGKILL`.

        The supervisor's log is the only place that has it also for a program that ended at once.
        """
        lines = last_lines(self.stack.log("supervisord"), 200)
        found = re.findall(rf"exited: {re.escape(name)} \(([^;)]+)", "\n".join(lines))
        return found[-1] if found else self.states()[name].error or "no exit status"

    def start_program(self, name: str) -> None:
        """Start a program, without waiting for anything but its process."""
        self._call("startProcess", name, False)

    def stop_program(self, name: str) -> None:
        """Stop a program, if it runs."""
        with contextlib.suppress(SupervisionError):
            self._call("stopProcess", name)

    def stop(self) -> None:
        """Stop all programs in reverse order, and the daemon; return when it is gone.

        Raises:
            SupervisionError: If it stays.
        """
        process = self.find()
        if process is None:
            return
        try:
            self._call("shutdown")
        except SupervisionError:  # its socket was deleted: the signal means the same
            process.send_signal(signal.SIGTERM)
        patience = sum(program.stop_timeout_s for program in self.stack.programs) + 10
        try:
            process.wait(patience)
        except psutil.TimeoutExpired:
            log = self.stack.log("supervisord")
            raise SupervisionError(
                f"supervisord (pid {process.pid}) does not stop: see {log}"
            ) from None
        self.remove_socket()

    def remove_socket(self) -> None:
        """Delete the socket of a supervisor that is gone, and the folder made for it alone."""
        self.socket.unlink(missing_ok=True)
        if self.socket.parent != self.stack.state:
            with contextlib.suppress(FileNotFoundError):
                self.socket.parent.rmdir()

    def _call(self, method: str, *arguments: object) -> Any:
        transport = SupervisorTransport(None, None, self.url)
        server = xmlrpc.client.ServerProxy("http://127.0.0.1", transport=transport)
        try:
            return getattr(server.supervisor, method)(*arguments)
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            reason = error.faultString if isinstance(error, xmlrpc.client.Fault) else error
            words = " ".join([method, *map(str, arguments[:1])])
            raise SupervisionError(f"supervisord answers {words} with {reason}") from error
        finally:
            transport.close()


def _make_private_folder(folder: Path, state: Path) -> None:
    if folder == state:
        return
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o077:
        raise SupervisionError(f"{folder} is not a private folder of this user: remove it")
