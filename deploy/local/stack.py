"""Bring the local stack up and down, and say how it is."""

import contextlib
import fcntl
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from deploy.display import Board
from deploy.errors import DeployError
from deploy.local.processes import describe_port_conflict, find_orphans, stop_orphans
from deploy.local.programs import Program, Stack
from deploy.local.supervision import ProgramState, Supervisor
from deploy.logs import last_lines

START_TIMEOUT_S = 120.0
POLL_S = 0.1
LOG_LINES = 15

# All that a stack keeps in its state folder, beside one folder per program.
STATE_ENTRIES = (
    "logs",
    "world",
    "world.unfinished",
    "models",
    "spool",
    "supervisord.conf",
    "supervisord.pid",
    "supervisor.sock",
    "lock",
)


class StackError(DeployError):
    """A stack that does not do what it should; the message says why and what to do."""


@dataclass(frozen=True)
class ProgramStatus:
    """How one program of the stack is."""

    program: Program
    state: ProgramState | None
    is_ready: bool

    @property
    def word(self) -> str:
        """Its state in a word."""
        if self.is_ready:
            return "ready"
        if self.state is None or self.state.word in {"STOPPED", "UNKNOWN"}:
            return "stopped"
        return "not ready" if self.state.word == "RUNNING" else self.state.word.lower()


def up(stack: Stack, console: Console) -> None:
    """Start what does not run, and wait until everything is ready.

    Raises:
        StackError: If a port is taken, or a program does not become ready.
    """
    with _locked(stack.state):
        (stack.state / "logs").mkdir(exist_ok=True)
        supervisor = Supervisor(stack)
        _settle(supervisor, console)
        states = supervisor.states()
        idle = [each for each in stack.programs if not _is_alive(states.get(each.name))]
        if not idle and all(program.is_ready() for program in stack.programs):
            console.print("The stack is already running.")
            return
        for program in idle:
            if program.name in states:  # it may wait for its next attempt
                supervisor.stop_program(program.name)
        conflicts = [text for each in idle if (text := describe_port_conflict(each))]
        if conflicts:
            raise StackError("\n".join(conflicts))
        stack.make_world()
        for program in idle:
            program.prepare()
        if supervisor.find() is None:
            supervisor.start()
        with Board(console, [program.name for program in stack.programs]) as board:
            for wave in sorted({program.wave for program in stack.programs}):
                members = [program for program in stack.programs if program.wave == wave]
                _start_wave(supervisor, members, board)


def down(stack: Stack, console: Console) -> None:
    """Stop everything that the stack started; its data stays."""
    with _locked(stack.state):
        _stop(Supervisor(stack), console)


def clean(stack: Stack, console: Console) -> None:
    """Stop the stack and delete its data: of the state folder, only what the stack put there."""
    with _locked(stack.state):
        supervisor = Supervisor(stack)
        _stop(supervisor, console)
        supervisor.remove_socket()
        for program in stack.programs:
            program.remove()
        for name in (*(program.name for program in stack.programs), *STATE_ENTRIES):
            path = stack.state / name
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # not empty: somebody else's files
        stack.state.rmdir()
    console.print(f"Deleted the data in {stack.state}.")


def fetch_status(stack: Stack) -> list[ProgramStatus]:
    """Ask the supervisor and each running program how it is."""
    states = Supervisor(stack).states()
    return [
        ProgramStatus(
            program=program,
            state=states.get(program.name),
            is_ready=_is_alive(states.get(program.name)) and program.is_ready(),
        )
        for program in stack.programs
    ]


def has_changed_settings(stack: Stack) -> bool:
    """Whether the stack runs with other settings than these."""
    supervisor = Supervisor(stack)
    return supervisor.find() is not None and not supervisor.has_current_configuration()


def _settle(supervisor: Supervisor, console: Console) -> None:
    """Come to a state from which starting is safe."""
    if supervisor.find() is None:
        _stop_orphans(supervisor, console)
    elif not supervisor.has_current_configuration():
        console.print("The settings have changed since the stack was started: restarting it.")
        supervisor.stop()


def _stop(supervisor: Supervisor, console: Console) -> None:
    if supervisor.find() is not None:
        console.print("Stopping the stack ...")
        supervisor.stop()
        console.print("The stack is stopped.")
    elif not _stop_orphans(supervisor, console):
        console.print("The stack is not running.")


def _stop_orphans(supervisor: Supervisor, console: Console) -> bool:
    programs = {program.name: program for program in supervisor.stack.programs}
    found = False
    # A child of an orphan is one itself, once its parent is gone.
    while orphans := find_orphans(supervisor.url):
        found = True
        names = ", ".join(f"{orphan.program} (pid {orphan.process.pid})" for orphan in orphans)
        console.print(f"The supervisor was killed and left {names}: stopping.")
        stop_orphans(orphans, programs)
    return found


def _start_wave(supervisor: Supervisor, programs: Sequence[Program], board: Board) -> None:
    states = supervisor.states()
    for program in programs:
        if not _is_alive(states.get(program.name)):
            supervisor.start_program(program.name)
        board.show(program.name, "starting")
    first = supervisor.states()
    deadline = time.monotonic() + START_TIMEOUT_S
    waiting = list(programs)
    while waiting:
        states = supervisor.states()
        for program in list(waiting):
            state = states[program.name]
            if not state.is_alive or state.pid != first[program.name].pid:
                how = supervisor.describe_exit(program.name)
                supervisor.stop_program(program.name)  # or it would be started again and again
                _fail(supervisor, program, f"ended ({how})", board)
            if program.is_ready():
                waiting.remove(program)
            elif time.monotonic() > deadline:
                _fail(supervisor, program, f"is not ready after {START_TIMEOUT_S:.0f} s", board)
            board.show(program.name, "starting" if program in waiting else "ready")
        time.sleep(POLL_S if waiting else 0)


def _fail(supervisor: Supervisor, program: Program, reason: str, board: Board) -> None:
    """Give up on a program; the others stay for a look at them."""
    board.show(program.name, "failed")
    log = supervisor.stack.log(program.name)
    lines = "".join(f"\n  {line}" for line in last_lines(log, LOG_LINES)) or " nothing"
    raise StackError(f"{program.name} {reason}. Its log ends with{lines}\nThe whole log: {log}")


def _is_alive(state: ProgramState | None) -> bool:
    return state is not None and state.is_alive


@contextlib.contextmanager
def _locked(state: Path) -> Iterator[None]:
    """Keep two commands from changing one stack at the same time."""
    state.mkdir(parents=True, exist_ok=True)
    with (state / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"another command is at work on the stack in {state}") from None
        yield
