"""Other processes: who holds a port, and what a killed supervisor left running."""

import contextlib
import errno
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psutil

from deploy.local.programs import Program
from deploy.local.settings import port_setting


@dataclass(frozen=True)
class Orphan:
    """A process that our supervisor started and no longer watches."""

    program: str
    process: psutil.Process


def describe_port_conflict(program: Program) -> str | None:
    """Say why a program cannot listen on its port and what to do; None if it can."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", program.port))
        except OSError as error:
            reason = f"is taken by {_describe_listener(program.port)}"
            if error.errno != errno.EADDRINUSE:
                reason = f"cannot be used ({error.strerror})"
            return (
                f"port {program.port} ({program.name}) {reason}: set {port_setting(program.name)}"
            )
    return None


def find_orphans(server_url: str) -> list[Orphan]:
    """Find the processes that a supervisor started and that outlived it.

    supervisord writes its address and the program's name into the environment of what it starts;
    a child of such a process is not listed, for its parent stops it.

    Args:
        server_url: The address of a supervisor that does not run.
    """
    marked = {}
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            environment = process.environ()
            if environment.get("SUPERVISOR_SERVER_URL") == server_url:
                marked[process.pid] = Orphan(environment["SUPERVISOR_PROCESS_NAME"], process)
    return [orphan for orphan in marked.values() if _parent_id(orphan.process) not in marked]


def stop_orphans(orphans: Sequence[Orphan], programs: Mapping[str, Program]) -> None:
    """Stop orphans, the last started first, each with its program's own signal."""
    for orphan in sorted(orphans, key=lambda each: -each.process.create_time()):
        program = programs.get(orphan.program)
        name = program.stop_signal if program else "TERM"
        with contextlib.suppress(psutil.NoSuchProcess):
            orphan.process.send_signal(signal.Signals[f"SIG{name}"])
            try:
                orphan.process.wait(program.stop_timeout_s if program else 20)
            except psutil.TimeoutExpired:
                orphan.process.kill()
                orphan.process.wait(10)


def _parent_id(process: psutil.Process) -> int | None:
    try:
        return process.ppid()
    except psutil.Error:
        return None


def _describe_listener(port: int) -> str:
    with contextlib.suppress(psutil.Error):
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN
            if listens and connection.laddr[1:2] == (port,) and connection.pid is not None:
                return f"pid {connection.pid} ({psutil.Process(connection.pid).name()})"
    return "another process"
