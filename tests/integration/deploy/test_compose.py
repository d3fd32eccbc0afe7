"""The composed stack: every variable is read, and nothing runs with more than it needs."""

import importlib.util
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.commands import ROOT
from deploy.local.segue import segue_environment
from deploy.local.settings import SERVERS, SERVICES, parse_settings, port_setting
from deploy.settings import DemoSettings, RetrainSettings
from services.logger.settings import Settings as LoggerSettings
from services.trainer.settings import Settings as TrainerSettings
from simulator.settings import Settings as SimulatorSettings
from tests.integration.deploy.variables import STACK_VARIABLES, known_variables, variables_of

COMPOSE = ROOT / "deploy" / "docker-compose.yml"
VARIABLE = re.compile(r"\bSEGUE_[A-Z0-9_]+\b")
ONE_SHOTS = {"world", "demo"}
SECRETS = ("postgres_password", "api_token", "grafana_password")
PROFILES = {
    "gateway": "scale",
    "prometheus": "observability",
    "grafana": "observability",
    "demo": "demo",
}


def read_stack() -> dict[str, Any]:
    stack: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return stack


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_stack()["services"]
    return found


def built_services() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services().items() if "build" in service}


@pytest.mark.parametrize("path", [COMPOSE, ROOT / ".env.example"], ids=lambda p: p.name)
def test_every_variable_is_a_setting_that_something_reads(path: Path) -> None:
    variables = set(VARIABLE.findall(path.read_text()))
    assert variables
    assert variables <= known_variables()


@pytest.mark.parametrize("name", built_services())
def test_a_service_is_told_only_what_it_reads(name: str) -> None:
    variables = built_services()[name].get("environment", {})
    program = "demo" if name in ONE_SHOTS else name
    assert {each for each in variables if each.startswith("SEGUE_")} <= variables_of(program)


def test_the_local_stack_sets_no_variable_that_nothing_reads() -> None:
    variables = segue_environment(parse_settings({}))
    assert {name for name in variables if name.startswith("SEGUE_")} <= known_variables()


def test_what_the_stack_itself_reads_is_in_the_example() -> None:
    example = (ROOT / ".env.example").read_text()
    assert set(VARIABLE.findall(example)) >= STACK_VARIABLES


def test_every_service_has_an_image_and_a_place_in_the_stack() -> None:
    assert set(services()) == {"redis", "postgres", "world", *PROFILES, *SERVICES}
    for name, service in built_services().items():
        assert (ROOT / service["build"]["dockerfile"]).exists(), name


def test_what_is_optional_waits_for_its_profile() -> None:
    found = {name: service.get("profiles") for name, service in services().items()}
    assert {name: [profile] for name, profile in PROFILES.items()} == {
        name: profiles for name, profiles in found.items() if profiles
    }


def test_every_image_from_elsewhere_is_pinned_to_a_minor_version() -> None:
    images = [service["image"] for service in services().values() if "build" not in service]
    assert all(re.search(r":v?\d+\.\d+", image) for image in images), images


@pytest.mark.parametrize("name", services())
def test_a_published_port_is_for_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in services()[name].get("ports", []))


@pytest.mark.parametrize("name", sorted(SERVERS | SERVICES))
def test_a_port_is_moved_by_the_variable_of_both_stacks(name: str) -> None:
    usual = (SERVERS | SERVICES)[name]
    published = [f"127.0.0.1:${{{port_setting(name)}:-{usual}}}:{usual}"]
    assert services()[name].get("ports", []) == ([] if name == "redis" else published)


@pytest.mark.parametrize("name", services())
def test_a_container_can_write_only_where_it_must(name: str) -> None:
    service = services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


@pytest.mark.parametrize("name", services())
def test_a_container_has_limits_and_comes_back(name: str) -> None:
    service = services()[name]
    assert set(service["deploy"]["resources"]["limits"]) == {"cpus", "memory"}
    assert service["restart"] == {"world": "on-failure:2", "demo": "no"}.get(name, "unless-stopped")


def test_redis_takes_less_than_its_container_may() -> None:
    # Else the kernel ends it, where it would have refused a write.
    redis = services()["redis"]
    command = redis["command"]
    assert command[command.index("--maxmemory") + 1] == "768mb"
    assert redis["deploy"]["resources"]["limits"]["memory"] == "1g"


@pytest.mark.parametrize("name", sorted(set(services()) - ONE_SHOTS - set(SERVICES)))
def test_what_others_built_is_asked_for_its_health_without_a_shell(name: str) -> None:
    assert services()[name]["healthcheck"]["test"][0] == "CMD"


def test_databases_are_reached_only_by_who_needs_them() -> None:
    stack = read_stack()
    assert stack["networks"]["data"] == {"internal": True}
    reaching = {
        name for name, each in stack["services"].items() if "data" in each.get("networks", [])
    }
    assert reaching == {"redis", "postgres", "demo", *SERVICES}
    assert stack["services"]["world"]["network_mode"] == "none"


def test_no_password_is_in_the_environment() -> None:
    stack = read_stack()
    assert "PASSWORD}" not in COMPOSE.read_text()
    for name, service in stack["services"].items():
        files = {
            value
            for key, value in service.get("environment", {}).items()
            if key.endswith("_FILE") and str(value).startswith("/run/secrets/")
        }
        assert files == {f"/run/secrets/{secret}" for secret in service.get("secrets", [])}, name
        assert set(service.get("secrets", [])) <= set(stack["secrets"])


@pytest.mark.parametrize(
    "settings",
    [DemoSettings, RetrainSettings, SimulatorSettings, LoggerSettings, TrainerSettings],
    ids=lambda settings: settings.__module__,
)
def test_whoever_asks_for_the_token_or_sends_it_reads_its_file(
    settings: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text("a-token-of-24-characters")
    monkeypatch.delenv("SEGUE_API_TOKEN", raising=False)
    monkeypatch.setenv("SEGUE_API_TOKEN_FILE", str(tmp_path / "token"))
    assert settings().api_token.get_secret_value() == "a-token-of-24-characters"


def test_a_one_shot_has_a_service_that_waits_for_its_end() -> None:
    # `compose up --wait` takes the end of any other one-shot for a failure.
    conditions = services()["recommender"]["depends_on"]
    assert conditions["world"]["condition"] == "service_completed_successfully"


def test_the_modules_that_containers_run_exist() -> None:
    commands = [service["command"] for service in built_services().values() if "command" in service]
    assert commands
    for command in commands:
        assert command[:2] == ["python", "-m"]
        assert importlib.util.find_spec(command[2]) is not None, command


def test_what_is_mounted_from_this_folder_exists() -> None:
    for service in services().values():
        for volume in service.get("volumes", []):
            if isinstance(volume, str) and volume.startswith("./"):
                assert (COMPOSE.parent / volume.split(":")[0]).exists(), volume


def make_secrets(folder: Path, cwd: Path) -> str:
    result = subprocess.run(
        [ROOT / "deploy" / "make-secrets.sh", folder, *SECRETS],
        cwd=cwd,
        check=True,
        capture_output=True,
        text=True,
    )
    return result.stdout


def test_passwords_are_made_once_for_their_owner_and_the_containers(tmp_path: Path) -> None:
    folder = tmp_path / "secrets"
    make_secrets(folder, tmp_path)
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert set(made) == set(SECRETS) == set(read_stack()["secrets"])
    assert len(set(made.values())) == 3
    assert all(len(password) == 36 for password in made.values())
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o444}
    assert make_secrets(folder, tmp_path) == ""
    assert made == {path.name: path.read_text() for path in folder.iterdir()}


def test_what_is_there_keeps_the_password_that_it_was_made_with(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("POSTGRES_PASSWORD=earlier\nSEGUE_API_TOKEN=known\n")
    make_secrets(tmp_path / "secrets", tmp_path)
    made = {path.name: path.read_text() for path in (tmp_path / "secrets").iterdir()}
    assert (made["postgres_password"], made["api_token"]) == ("earlier", "known")
    assert len(made["grafana_password"]) == 36


def test_secrets_are_neither_committed_nor_sent_to_a_builder() -> None:
    for name in (".gitignore", ".dockerignore"):
        lines = [line.rstrip("/") for line in (ROOT / name).read_text().splitlines()]
        assert "deploy/secrets" in lines, name
