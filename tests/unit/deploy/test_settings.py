"""What the environment says about the local stack."""

import contextlib
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from deploy.local.segue import segue_programs
from deploy.local.settings import (
    APPENDFSYNC,
    APPENDFSYNC_SETTING,
    SERVERS,
    SERVICES,
    SettingsError,
    parse_settings,
    port_setting,
    read_environment,
)

ROOT = Path("/somewhere")
REPOSITORY = Path(__file__).parents[3]


def test_the_usual_ports_and_folder() -> None:
    settings = parse_settings({}, ROOT)
    assert settings.state == ROOT / ".segue"
    assert settings.ports == SERVERS | SERVICES
    assert settings.url("recommender") == "http://127.0.0.1:5001"


def test_every_program_has_a_port_setting() -> None:
    numbers = {name: 20_000 + i for i, name in enumerate(SERVERS | SERVICES)}
    environment = {port_setting(name): str(port) for name, port in numbers.items()}
    assert parse_settings(environment, ROOT).ports == numbers


def test_the_state_folder_is_relative_to_the_root() -> None:
    assert parse_settings({"SEGUE_STATE": "a/b"}, ROOT).state == ROOT / "a/b"
    assert parse_settings({"SEGUE_STATE": "/c"}, ROOT).state == Path("/c")


def test_an_empty_setting_means_the_usual() -> None:
    settings = parse_settings({"SEGUE_LOGGER_PORT": "", "SEGUE_STATE": ""}, ROOT)
    usual = parse_settings({}, ROOT)
    assert (settings.state, settings.ports) == (usual.state, usual.ports)


@given(st.text())
def test_a_port_is_a_number_from_1_to_65535_or_is_refused(text: str) -> None:
    with contextlib.suppress(SettingsError):
        port = parse_settings({"SEGUE_LOGGER_PORT": text}, ROOT).ports["logger"]
        assert 0 < port < 65_536


@pytest.mark.parametrize("text", ["0", "65536", "-1", "5001.0", "http", " 5009", "²", "٣"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match="SEGUE_LOGGER_PORT"):
        parse_settings({"SEGUE_LOGGER_PORT": text}, ROOT)


def test_two_programs_on_one_port_are_refused_by_name() -> None:
    with pytest.raises(SettingsError, match="SEGUE_LOGGER_PORT and SEGUE_TRAINER_PORT are both 7"):
        parse_settings({"SEGUE_LOGGER_PORT": "7", "SEGUE_TRAINER_PORT": "7"}, ROOT)


def test_the_environment_wins_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("SEGUE_LOGGER_PORT=1111\nSEGUE_TRAINER_PORT=2222\n")
    monkeypatch.setenv("SEGUE_LOGGER_PORT", "3333")
    monkeypatch.delenv("SEGUE_TRAINER_PORT", raising=False)
    ports = parse_settings(read_environment(tmp_path), tmp_path).ports
    assert (ports["logger"], ports["trainer"]) == (3333, 2222)


def test_redis_waits_for_the_disk_if_asked_to() -> None:
    for environment, expected in [({}, "no"), ({APPENDFSYNC_SETTING: "always"}, "always")]:
        settings = parse_settings(environment, ROOT)
        command = segue_programs(settings)[0].command
        assert command[command.index("--appendfsync") + 1] == expected


def test_redis_never_answers_before_it_has_written() -> None:
    with pytest.raises(SettingsError, match="'everysec', not no or always"):
        parse_settings({APPENDFSYNC_SETTING: "everysec"}, ROOT)
    compose = yaml.safe_load((REPOSITORY / "deploy/docker-compose.yml").read_text())
    command = compose["services"]["redis"]["command"]
    flush = command[command.index("--appendfsync") + 1]
    assert flush == f"${{{APPENDFSYNC_SETTING}:-{APPENDFSYNC[0]}}}"
