"""A small stack of stand-in services, run by a real supervisor."""

import contextlib
import dataclasses
import io
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from deploy.local.configuration import socket_path
from deploy.local.programs import Program, Stack, ready_check
from deploy.local.segue import segue_programs
from deploy.local.servers import PostgresServer, ServerError
from deploy.local.settings import SERVERS, LocalSettings, parse_settings
from deploy.local.stack import StackError, clean, down, fetch_status, has_changed_settings, up
from deploy.local.supervision import SupervisionError, Supervisor
from tests.conftest import free_port

STAND_IN = Path(__file__).with_name("stand_in.py")


def make_program(name: str, *arguments: str, port: int | None = None, wave: int = 1) -> Program:
    port = port or free_port()
    return Program(
        name=name,
        command=[sys.executable, str(STAND_IN), str(port), *arguments],
        port=port,
        is_ready=ready_check(f"http://127.0.0.1:{port}"),
        wave=wave,
        stop_timeout_s=5,
    )


def make_stack(state: Path, *programs: Program) -> Stack:
    settings = LocalSettings(
        state=state,
        ports={program.name: program.port for program in programs},
        environment=dict(os.environ),
    )
    return Stack(settings=settings, programs=programs)


class Terminal:
    """Runs the commands on stacks, keeps what they print, and cleans up in the end."""

    def __init__(self) -> None:
        self.stacks: list[Stack] = []
        self.output = io.StringIO()
        self.console = Console(file=self.output, width=200)

    def up(self, stack: Stack) -> str:
        self.stacks.append(stack)
        return self._run(up, stack)

    def down(self, stack: Stack) -> str:
        return self._run(down, stack)

    def clean(self, stack: Stack) -> str:
        return self._run(clean, stack)

    def _run(self, command: Callable[[Stack, Console], None], stack: Stack) -> str:
        start = self.output.tell()
        command(stack, self.console)
        return self.output.getvalue()[start:]


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    terminal = Terminal()
    yield terminal
    for stack in terminal.stacks:
        clean(stack, terminal.console)


def words(stack: Stack) -> list[str]:
    return [status.word for status in fetch_status(stack)]


def pids(stack: Stack) -> list[int]:
    return [status.state.pid for status in fetch_status(stack) if status.state and status.state.pid]


def test_up_waits_until_all_are_ready_and_down_stops_them(
    tmp_path: Path, terminal: Terminal
) -> None:
    stack = make_stack(tmp_path / "state", make_program("first"), make_program("second", wave=2))
    output = terminal.up(stack)
    assert words(stack) == ["ready", "ready"]
    assert [line.split()[:2] for line in output.splitlines()] == [
        ["first", "ready"],
        ["second", "ready"],
    ]
    processes = pids(stack)
    terminal.down(stack)
    assert words(stack) == ["stopped", "stopped"]
    assert not any(psutil.pid_exists(pid) for pid in processes)
    assert (stack.log("first")).read_text().startswith("listening on")


def test_up_again_changes_nothing_and_says_so(tmp_path: Path, terminal: Terminal) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    before = pids(stack)
    assert "already running" in terminal.up(stack)
    assert pids(stack) == before


def test_up_restarts_the_stack_when_the_settings_have_changed(
    tmp_path: Path, terminal: Terminal
) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    before = pids(stack)
    environment = {**stack.settings.environment, "SEGUE_LOG_LEVEL": "debug"}
    changed = dataclasses.replace(
        stack, settings=dataclasses.replace(stack.settings, environment=environment)
    )
    assert has_changed_settings(changed)
    assert "settings have changed" in terminal.up(changed)
    assert not has_changed_settings(changed)
    assert words(changed) == ["ready"]
    assert pids(changed) != before


@pytest.mark.parametrize("seconds", ["0", "1.5"])  # before and after supervisord trusts a start
def test_up_reports_a_program_that_exits_with_the_end_of_its_log(
    tmp_path: Path, terminal: Terminal, seconds: str
) -> None:
    stack = make_stack(
        tmp_path / "state", make_program("sound"), make_program("broken", "--exit-after", seconds)
    )
    with pytest.raises(StackError) as caught:
        terminal.up(stack)
    message = str(caught.value)
    assert message.startswith("broken ended (exit status 7)")
    assert "complaint 19" in message
    assert "complaint 4\n" not in message  # the last 15 lines, no more
    assert str(stack.log("broken")) in message
    assert words(stack)[1] != "ready"


def test_up_reports_a_program_that_cannot_be_started(tmp_path: Path, terminal: Terminal) -> None:
    program = dataclasses.replace(make_program("absent"), command=["/no/such/program"])
    with pytest.raises(SupervisionError, match="can't find command '/no/such/program'"):
        terminal.up(make_stack(tmp_path / "state", program))


def test_up_names_who_holds_a_port_and_the_setting_that_changes_it(
    tmp_path: Path, terminal: Terminal
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stack = make_stack(tmp_path / "state", make_program("recommender", port=port))
        with pytest.raises(StackError) as caught:
            terminal.up(stack)
    name = psutil.Process().name()
    assert str(caught.value) == (
        f"port {port} (recommender) is taken by pid {os.getpid()} ({name}): "
        "set SEGUE_RECOMMENDER_PORT"
    )
    assert words(stack) == ["stopped"]


def test_a_program_that_dies_is_started_again(tmp_path: Path, terminal: Terminal) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    [before] = pids(stack)
    process = psutil.Process(before)
    process.kill()
    wait_until(lambda: words(stack) == ["ready"] and pids(stack) != [before])


def test_up_starts_a_program_at_once_that_waits_for_its_next_attempt(
    tmp_path: Path, terminal: Terminal
) -> None:
    fault = tmp_path / "fault"
    stack = make_stack(tmp_path / "state", make_program("only", "--exit-if", str(fault)))
    terminal.up(stack)
    fault.touch()
    psutil.Process(pids(stack)[0]).kill()
    wait_until(lambda: words(stack) == ["backoff"])
    fault.unlink()
    terminal.up(stack)
    assert words(stack) == ["ready"]


def test_what_a_killed_supervisor_left_is_stopped_before_the_next_start(
    tmp_path: Path, terminal: Terminal
) -> None:
    stack = make_stack(tmp_path / "state", make_program("first"), make_program("second"))
    terminal.up(stack)
    left = pids(stack)
    kill_supervisor(stack)
    assert all(psutil.pid_exists(pid) for pid in left)
    output = terminal.up(stack)
    assert "killed and left" in output
    assert words(stack) == ["ready", "ready"]
    assert not any(psutil.pid_exists(pid) for pid in left)


def test_down_stops_what_a_killed_supervisor_left(tmp_path: Path, terminal: Terminal) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    [left] = pids(stack)
    kill_supervisor(stack)
    terminal.down(stack)
    assert not psutil.pid_exists(left)


def test_a_pid_file_that_names_another_process_harms_nobody(
    tmp_path: Path, terminal: Terminal
) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    stack.state.mkdir()
    (stack.state / "supervisord.pid").write_text(f"{os.getpid()}\n")
    (stack.state / "supervisor.sock").touch()
    terminal.up(stack)
    assert words(stack) == ["ready"]


def test_down_works_after_the_socket_was_deleted(tmp_path: Path, terminal: Terminal) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    [pid] = pids(stack)
    Supervisor(stack).socket.unlink()
    terminal.down(stack)
    assert not psutil.pid_exists(pid)


def test_two_stacks_run_side_by_side(tmp_path: Path, terminal: Terminal) -> None:
    one = make_stack(tmp_path / "one", make_program("only"))
    two = make_stack(tmp_path / "two", make_program("only"))
    terminal.up(one)
    terminal.up(two)
    terminal.down(one)
    assert (words(one), words(two)) == (["stopped"], ["ready"])


def test_a_deep_state_folder_gets_a_short_socket_path(tmp_path: Path, terminal: Terminal) -> None:
    state = tmp_path / ("deep" * 30) / "my #1; state"
    state.mkdir(parents=True)
    stack = make_stack(state, make_program("only"))
    terminal.up(stack)
    assert words(stack) == ["ready"]
    assert len(str(socket_path(state))) < 100
    kill_supervisor(stack)
    terminal.clean(stack)
    assert not socket_path(state).parent.exists()


def test_clean_deletes_its_own_files_and_no_others(tmp_path: Path, terminal: Terminal) -> None:
    stack = make_stack(tmp_path / "state", make_program("only"))
    terminal.up(stack)
    keepsake = stack.state / "keepsake"
    keepsake.touch()
    terminal.clean(stack)
    assert words(stack) == ["stopped"]
    assert list(stack.state.iterdir()) == [keepsake]


def test_databases_are_shut_down_well_after_their_supervisor_was_killed(
    tmp_path: Path, terminal: Terminal
) -> None:
    environment = {
        **os.environ,
        "SEGUE_REDIS_PORT": str(free_port()),
        "SEGUE_POSTGRES_PORT": str(free_port()),
        "SEGUE_STATE": str(tmp_path / "state"),
    }
    settings = parse_settings(environment)
    databases = [each for each in segue_programs(settings) if each.name in SERVERS]
    stack = Stack(settings=settings, programs=databases)
    terminal.up(stack)
    with pytest.raises(ServerError, match="already runs on"):
        databases[1].prepare()
    kill_supervisor(stack)
    output = terminal.up(stack)
    assert "postgres (pid" in output
    assert "redis (pid" in output
    assert words(stack) == ["ready", "ready"]
    log = stack.log("postgres").read_text()
    assert "database system was shut down at" in log
    assert "was interrupted" not in log
    terminal.clean(stack)
    assert not PostgresServer(databases[1].port, stack.state / "postgres").data.exists()


def kill_supervisor(stack: Stack) -> None:
    process = Supervisor(stack).find()
    assert process is not None
    process.send_signal(signal.SIGKILL)
    with contextlib.suppress(psutil.NoSuchProcess):
        process.wait(10)


def wait_until(condition: Callable[[], bool], timeout_s: float = 15) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.1)
