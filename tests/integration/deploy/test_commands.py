"""The command line of the local stack, without a stack, and running one of Segue's commands."""

import os
from pathlib import Path

import pytest

from deploy.commands import CommandError, run_module
from deploy.demo import main as demonstrate
from deploy.local.__main__ import main
from deploy.local.settings import SERVERS, SERVICES, port_setting
from deploy.world import main as make_world
from tests.conftest import free_port


@pytest.fixture(autouse=True)
def own_stack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Point the command line at a stack that nobody runs."""
    monkeypatch.setenv("SEGUE_STATE", str(tmp_path / "state"))
    for name in SERVERS | SERVICES:
        monkeypatch.setenv(port_setting(name), str(free_port()))
    return tmp_path / "state"


def test_status_of_no_stack_has_its_own_exit_status(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["status"]) == 3
    assert capsys.readouterr().out == "stopped\n"


def test_ps_lists_every_program_with_its_port(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ps"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["service", "state", "pid", "uptime", "port"]
    assert rows[1:] == [
        [name, "stopped", os.environ[port_setting(name)]] for name in SERVERS | SERVICES
    ]


def test_down_of_no_stack_is_no_failure(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["down"]) == 0
    assert "not running" in capsys.readouterr().out


def test_logs_of_an_unknown_service_name_the_known_ones(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["logs", "nothing"]) == 2
    assert "recommender" in capsys.readouterr().err


def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_LOGGER_PORT", "many")
    assert main(["up"]) == 2
    assert "SEGUE_LOGGER_PORT" in capsys.readouterr().err


def test_a_bad_setting_of_the_demonstration_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setenv("SEGUE_DEMO_TRACKS", "many")
    for command in (
        lambda: main(["demo"]),
        demonstrate,
        lambda: make_world([str(tmp_path / "world")]),
    ):
        assert command() == 2
        assert "setting tracks: Input should be a valid integer" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_made_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SEGUE_STATE", str(tmp_path / "file" / "state"))
    assert main(["up"]) == 1
    assert str(tmp_path / "file" / "state") in capsys.readouterr().err
    assert make_world([str(tmp_path / "file" / "world")]) == 1
    assert str(tmp_path / "file") in capsys.readouterr().err


def test_clean_leaves_nothing(own_stack: Path) -> None:
    (own_stack / "logs").mkdir(parents=True)
    (own_stack / "logs" / "logger.log").touch()
    assert main(["clean"]) == 0
    assert not own_stack.exists()


def test_a_command_s_lines_are_returned_and_kept(tmp_path: Path) -> None:
    lines = run_module(["platform"], log=tmp_path / "logs" / "log", environment=os.environ)
    assert lines == (tmp_path / "logs" / "log").read_text().splitlines()
    assert len(lines) == 1


def test_a_command_that_fails_says_why_and_where_its_log_is(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(CommandError) as caught:
        run_module(["no_such_module", "argument"], log=log, environment=os.environ)
    message = str(caught.value)
    assert message.startswith("`python -m no_such_module argument` exited with status 1")
    assert "No module named no_such_module" in message
    assert str(log) in message
