"""A whole stack to be hurt: its processes, its databases, and whether all is well again."""

import contextlib
import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from redis import Redis
from rich.console import Console

from benchmarks.chaos.proxy import DelayProxy
from deploy.local.programs import Program, Stack, answers_redis, ready_check
from deploy.local.segue import CATALOG_SETTING, create_stack
from deploy.local.servers import ValkeyServer
from deploy.local.settings import SERVERS, SERVICES, parse_settings, port_setting, read_environment
from deploy.local.stack import clean, up
from deploy.local.supervision import Supervisor
from deploy.loop.live import free_ports
from shared.catalog import Catalog
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.world import WorldParameters, make_dynamics
from simulator.worlds import create_world

WORLD = WorldParameters(n_tracks=2_000, n_artists=200, n_users=2_000, seed=1)
RECOVERY_TIMEOUT_S = 120.0
POLL_S = 0.1


class RecoveryError(Exception):
    """A stack that did not become well again."""


@dataclass(frozen=True)
class Laboratory:
    """A running stack and its world.

    Attributes:
        stack: Its programs.
        catalog: That it serves.
        dynamics: Its listeners.
        proxy: Between the services and Redis, if there is one.
    """

    stack: Stack
    catalog: Catalog
    dynamics: Dynamics
    proxy: DelayProxy | None = None

    @property
    def supervisor(self) -> Supervisor:
        """What restarts programs that die."""
        return Supervisor(self.stack)

    @property
    def dsn(self) -> str:
        """Where Postgres is reached."""
        return self.stack.settings.environment["SEGUE_POSTGRES_DSN"]

    def url(self, service: str) -> str:
        """Return where a service is reached."""
        return self.stack.settings.url(service)

    def pid(self, name: str) -> int:
        """Return a program's process id, waiting for it if it is between two lives."""
        deadline = time.monotonic() + RECOVERY_TIMEOUT_S
        while (pid := self.supervisor.states()[name].pid) is None:
            _check_time(deadline, f"{name} does not run")
            time.sleep(POLL_S)
        return pid

    def kill(self, name: str) -> None:
        """Kill a program outright; its supervisor starts another."""
        os.kill(self.pid(name), signal.SIGKILL)

    def kill_worker(self, name: str) -> None:
        """Kill one of a program's workers outright."""
        children = psutil.Process(self.pid(name)).children()
        next(each for each in children if "spawn_main" in " ".join(each.cmdline())).kill()

    def stop(self, *names: str) -> None:
        """Stop programs; they stay down."""
        for name in names:
            self.supervisor.stop_program(name)

    def start(self, *names: str) -> None:
        """Start stopped programs."""
        for name in names:
            self.supervisor.start_program(name)

    @contextlib.contextmanager
    def redis(self) -> Iterator[Redis]:
        """Connect to Redis itself, past the proxy."""
        port = self.stack.settings.ports["redis"]
        with Redis(port=port, socket_timeout=10) as connection:
            yield connection

    @contextlib.contextmanager
    def stopped_redis(self) -> Iterator[Redis]:
        """Run a copy of what a stopped Redis left on disk, and connect to it."""
        with tempfile.TemporaryDirectory() as folder:
            (port,) = free_ports(1)
            server = ValkeyServer(port, Path(folder))
            shutil.copytree(self.stack.state / "redis", folder, dirs_exist_ok=True)
            process = subprocess.Popen(server.command(), stdout=subprocess.DEVNULL)
            try:
                while not answers_redis(server.url):
                    time.sleep(POLL_S)
                with Redis.from_url(server.url) as connection:
                    yield connection
            finally:
                process.kill()
                process.wait()

    def forget_redis(self) -> None:
        """Delete all that a stopped Redis keeps on disk."""
        shutil.rmtree(self.stack.state / "redis" / "appendonlydir")

    def forget_sessions(self) -> None:
        """Delete the state of every session."""
        with self.redis() as connection:
            for key in connection.scan_iter("segue:session:*", count=1_000):
                connection.delete(key)

    def wait_until_ready(self) -> float:
        """Wait until every program is ready; return how long that took, in seconds.

        Raises:
            RecoveryError: If it takes too long.
        """
        began = time.monotonic()
        waiting: Sequence[Program] = self.stack.programs
        while waiting := [program for program in waiting if not program.is_ready()]:
            names = ", ".join(program.name for program in waiting)
            _check_time(began + RECOVERY_TIMEOUT_S, f"not ready: {names}")
            time.sleep(POLL_S)
        return time.monotonic() - began


@contextlib.contextmanager
def open_laboratory(folder: Path, console: Console) -> Iterator[Laboratory]:
    """Start a stack with two workers, two loggers and a proxy before Redis; delete it at the end.

    Raises:
        DeployError: If it does not start.
    """
    names = [*SERVERS, *SERVICES]
    *ports, second, front = free_ports(len(names) + 2)
    settings = parse_settings(
        read_environment()
        | {port_setting(name): str(port) for name, port in zip(names, ports, strict=True)}
        | {"SEGUE_STATE": str(folder.resolve()), "SEGUE_RECOMMENDER_WORKERS": "2"}
        | {CATALOG_SETTING: ""}  # not one's own
    )
    stack = create_stack(settings, console)
    proxy = DelayProxy(front, settings.ports["redis"])
    environment = {
        **stack.settings.environment,
        "SEGUE_REDIS_URL": f"redis://127.0.0.1:{front}/0",
    }
    stack = dataclasses.replace(
        stack,
        settings=dataclasses.replace(stack.settings, environment=environment),
        programs=[*stack.programs, _second_logger(second)],
        make_world=lambda: _make_world(stack.state / "world"),
    )
    clean(stack, console)
    with proxy.running():
        try:
            up(stack, console)
            yield make_laboratory(stack, proxy)
        finally:
            clean(stack, console)


def make_laboratory(stack: Stack, proxy: DelayProxy | None = None) -> Laboratory:
    """Make a laboratory of a stack that runs."""
    world = load_world(stack.state / "world")
    return Laboratory(stack, world.catalog, make_dynamics(world), proxy)


def _make_world(folder: Path) -> None:
    create_world(WORLD, folder)


def _second_logger(port: int) -> Program:
    return Program(
        name="logger-2",
        # env becomes the logger: a signal to the one reaches the other
        command=["env", f"SEGUE_LOGGER_PORT={port}", sys.executable, "-m", "services.logger"],
        port=port,
        is_ready=ready_check(f"http://127.0.0.1:{port}"),
        wave=2,
    )


def _check_time(deadline: float, complaint: str) -> None:
    if time.monotonic() > deadline:
        raise RecoveryError(f"{complaint}, {RECOVERY_TIMEOUT_S:g} s after the fault")
