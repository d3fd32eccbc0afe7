"""The container files name what exists, and nothing in them runs with more than it needs."""

import http.server
import importlib
import importlib.util
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import AliasChoices
from pydantic_settings import BaseSettings

from deploy.commands import ROOT
from deploy.local.segue import segue_environment
from deploy.local.settings import (
    APPENDFSYNC_SETTING,
    SERVERS,
    SERVICES,
    parse_settings,
    port_setting,
)
from deploy.settings import DemoSettings

DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
COMPOSE = ROOT / "deploy" / "docker-compose.yml"
SETTINGS_MODULES = (
    "services.recommender",
    "services.trainer",
    "services.logger",
    "services.dashboard",
    "simulator",
)
VARIABLE = re.compile(r"\bSEGUE_[A-Z0-9_]+\b")


def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = yaml.safe_load(COMPOSE.read_text())["services"]
    return found


def built_services() -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services().items() if "build" in service}


def known_variables() -> set[str]:
    """Collect the variables that the settings classes read."""
    classes: list[type[BaseSettings]] = [
        DemoSettings,
        *(importlib.import_module(f"{package}.settings").Settings for package in SETTINGS_MODULES),
    ]
    names = {port_setting(name) for name in SERVERS | SERVICES}
    names |= {"SEGUE_STATE", APPENDFSYNC_SETTING}
    for each in classes:
        prefix = each.model_config.get("env_prefix", "")
        for field, info in each.model_fields.items():
            alias = info.validation_alias
            if isinstance(alias, AliasChoices):
                names |= {str(choice) for choice in alias.choices}
            else:
                names.add(str(alias or prefix + field).upper())
    return names


@pytest.mark.parametrize(
    "path", [COMPOSE, ROOT / ".env.example", *DOCKERFILES], ids=lambda p: p.name
)
def test_every_variable_is_a_setting_that_something_reads(path: Path) -> None:
    text = path.read_text()
    variables = set(VARIABLE.findall(text))
    assert variables or path.name.startswith("simulator")
    assert variables <= known_variables()


def test_the_local_stack_sets_no_variable_that_nothing_reads() -> None:
    variables = segue_environment(parse_settings({}))
    assert {name for name in variables if name.startswith("SEGUE_")} <= known_variables()


def test_every_service_has_an_image_and_a_place_in_the_stack() -> None:
    assert set(services()) == {"redis", "postgres", "world", "demo", *SERVICES}
    for name, service in built_services().items():
        assert (ROOT / service["build"]["dockerfile"]).exists(), name


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=lambda path: path.stem)
def test_an_image_ends_as_a_numeric_user_without_pip(dockerfile: Path) -> None:
    final = dockerfile.read_text().split("\nFROM ")[-1]
    assert re.search(r"^USER [1-9]\d+:[1-9]\d+$", final, re.MULTILINE)
    assert "pip" not in final
    assert "venv --without-pip" in dockerfile.read_text()


def test_every_image_from_elsewhere_is_pinned_to_a_minor_version() -> None:
    images = [service["image"] for service in services().values() if "build" not in service]
    for dockerfile in DOCKERFILES:
        images += re.findall(r"^FROM (\S+)", dockerfile.read_text(), re.MULTILINE)
    assert all(re.search(r":\d+\.\d+", image) for image in images), images


@pytest.mark.parametrize("name", services())
def test_a_published_port_is_for_this_machine_alone(name: str) -> None:
    assert all(port.startswith("127.0.0.1:") for port in services()[name].get("ports", []))


@pytest.mark.parametrize("name", built_services())
def test_a_container_of_ours_can_write_only_where_it_must(name: str) -> None:
    service = built_services()[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_a_one_shot_has_a_service_that_waits_for_its_end() -> None:
    # `compose up --wait` takes the end of any other one-shot for a failure.
    conditions = services()["recommender"]["depends_on"]
    assert conditions["world"]["condition"] == "service_completed_successfully"


def test_the_modules_that_containers_run_exist() -> None:
    commands = [
        json.loads(line[line.index("[") :])
        for dockerfile in DOCKERFILES
        for line in dockerfile.read_text().splitlines()
        if line.lstrip().startswith("CMD [")
    ]
    commands += [
        service["command"] for service in built_services().values() if "command" in service
    ]
    modules = {command[2] for command in commands if command[:2] == ["python", "-m"]}
    assert {"shared.healthcheck", *(f"services.{name}" for name in SERVICES)} <= modules
    for module in modules:
        spec = importlib.util.find_spec(module)
        assert spec is not None, module
        if spec.submodule_search_locations is not None:
            assert importlib.util.find_spec(f"{module}.__main__") is not None, module


class Health(http.server.BaseHTTPRequestHandler):
    """Answers `/health/ready` with success and anything else with 503."""

    def do_GET(self) -> None:
        self.send_response(200 if self.path == "/health/ready" else 503)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def health_url() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Health) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(("path", "status"), [("/health/ready", 0), ("/elsewhere", 1)])
def test_the_health_check_of_the_images_tells_ready_from_not_ready(
    health_url: str, path: str, status: int
) -> None:
    result = subprocess.run(
        [sys.executable, "-m", "shared.healthcheck", health_url + path],
        cwd=ROOT,
        capture_output=True,
        check=False,
    )
    assert result.returncode == status


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_a_health_check_asks_the_service_s_own_port(name: str) -> None:
    text = (ROOT / "deploy" / "docker" / f"{name}.Dockerfile").read_text()
    port = SERVICES[name]
    assert f'"http://127.0.0.1:{port}/health/ready"' in text
    assert f"EXPOSE {port}\n" in text
    assert services()[name]["ports"] == [f"127.0.0.1:${{{port_setting(name)}:-{port}}}:{port}"]
