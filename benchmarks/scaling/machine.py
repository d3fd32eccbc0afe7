"""A local stack of the benchmark's own, and what its processes have used."""

import contextlib
import os
import socket
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console

from deploy.local.programs import Stack
from deploy.local.segue import CATALOG_SETTING, create_stack
from deploy.local.settings import SERVERS, SERVICES, parse_settings
from deploy.local.stack import clean, up
from deploy.local.supervision import Supervisor


@contextlib.contextmanager
def running_stack(*, n_tracks: int, console: Console) -> Iterator[Stack]:
    """Run a stack on free ports, in a folder that goes with it."""
    with tempfile.TemporaryDirectory(prefix="segue") as name:
        ports = {f"SEGUE_{each.upper()}_PORT": str(port) for each, port in _free_ports().items()}
        own = {"SEGUE_STATE": name, "SEGUE_DEMO_TRACKS": str(n_tracks), CATALOG_SETTING: ""}
        os.environ |= ports | own
        stack = create_stack(parse_settings(os.environ, Path(name)), console)
        try:
            up(stack, console)
            yield stack
        finally:
            clean(stack, console)
            Path(name).mkdir(exist_ok=True)  # for who made it, to remove


def _free_ports() -> dict[str, int]:
    with contextlib.ExitStack() as stack:
        ports = {}
        for name in SERVERS | SERVICES:
            probe = stack.enter_context(socket.socket())
            probe.bind(("127.0.0.1", 0))
            ports[name] = int(probe.getsockname()[1])
        return ports


@dataclass(frozen=True)
class Usage:
    """What programs have used so far: seconds of CPU and, now, bytes of memory, per program."""

    cpu_s: dict[str, float]
    memory: dict[str, int]

    def since(self, earlier: "Usage", *, idle: dict[str, float], elapsed_s: float) -> "Usage":
        """Return what was used since, without what the programs use when nothing happens.

        Args:
            earlier: Usage then.
            idle: Seconds of CPU per second of rest.
            elapsed_s: Between the two.
        """
        spent = {
            name: max(0.0, now - earlier.cpu_s[name] - idle.get(name, 0.0) * elapsed_s)
            for name, now in self.cpu_s.items()
        }
        return Usage(spent, self.memory)


def measure_usage(stack: Stack) -> Usage:
    """Measure every program of the stack with all its children, those that ended included."""
    cpu_s, memory = {}, {}
    for name, state in Supervisor(stack).states().items():
        if state.pid is None:
            continue
        main = psutil.Process(state.pid)
        cpu_s[name] = memory[name] = 0
        for process in (main, *main.children(recursive=True)):
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                cpu_s[name] += times.user + times.system
                cpu_s[name] += times.children_user + times.children_system
                memory[name] += process.memory_full_info().uss
    return Usage(cpu_s, memory)
