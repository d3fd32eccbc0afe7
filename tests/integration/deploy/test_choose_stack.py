"""`make` runs containers only where they can run."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from deploy.commands import ROOT

INFO_OF_AN_ENGINE = 'echo "27.3.1"'
INFO_WITHOUT_ENGINE = 'echo "Cannot connect to the Docker daemon" >&2; exit 1'
INFO_OF_A_LENIENT_CLIENT = 'echo "Cannot connect to the Docker daemon" >&2'
COMPOSE = 'echo "Docker Compose version v5"'
NO_COMPOSE = 'echo "docker: unknown command: docker compose" >&2; exit 1'


def choose(folder: Path) -> str:
    """Run the script with nothing but this folder's docker and the system's tools."""
    for tool in ("bash", "env"):
        (folder / tool).symlink_to(str(shutil.which(tool)))
    script = ROOT / "deploy" / "choose-stack.sh"
    result = subprocess.run(
        [script], env={"PATH": str(folder)}, capture_output=True, text=True, check=True
    )
    return result.stdout.strip()


def install_docker(folder: Path, *, info: str, compose: str) -> None:
    docker = folder / "docker"
    docker.write_text(f'#!/bin/sh\ncase "$1" in\ninfo) {info};;\ncompose) {compose};;\nesac\n')
    docker.chmod(0o755)


@pytest.mark.parametrize(
    ("info", "compose", "expected"),
    [
        (INFO_OF_AN_ENGINE, COMPOSE, "docker"),
        (INFO_OF_AN_ENGINE, NO_COMPOSE, "local"),
        (INFO_WITHOUT_ENGINE, COMPOSE, "local"),
        (INFO_OF_A_LENIENT_CLIENT, COMPOSE, "local"),
    ],
)
def test_docker_is_chosen_if_an_engine_answers_and_compose_exists(
    tmp_path: Path, info: str, compose: str, expected: str
) -> None:
    install_docker(tmp_path, info=info, compose=compose)
    assert choose(tmp_path) == expected


def test_without_docker_the_stack_is_local(tmp_path: Path) -> None:
    assert choose(tmp_path) == "local"


@pytest.mark.parametrize("stack", ["docker", "local"])
def test_make_does_what_stack_says(stack: str) -> None:
    result = subprocess.run(
        ["make", "--dry-run", "up", f"STACK={stack}"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    command = {"docker": "docker compose", "local": "deploy.local up"}
    assert [name for name in command if command[name] in result.stdout] == [stack]


def test_make_refuses_another_stack() -> None:
    result = subprocess.run(
        ["make", "up", "STACK=podman"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode != 0
    assert "STACK is docker or local, not 'podman'" in result.stderr


def test_make_alone_lists_its_targets() -> None:
    result = subprocess.run(
        ["make", "STACK=local"],
        cwd=ROOT,
        env={**os.environ, "MAKEFLAGS": ""},
        capture_output=True,
        text=True,
        check=True,
    )
    listed = {line.split()[1] for line in result.stdout.splitlines() if line.startswith("  make ")}
    assert listed == {
        *("help", "demo", "loop", "up", "down", "ps", "logs", "clean"),
        *("install", "browser", "test", "lint", "format", "lock"),
        *("audit", "bench-serving", "screenshots"),
        *("chaos", "docs", "prometheus", "promtool"),
    }


def test_many_recommenders_leave_their_port_to_nginx() -> None:
    settings = ["STACK=docker", "RECOMMENDERS=4", "PROFILES=observability"]
    command = ["make", "-n", "docker-up", *settings]
    made = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    (up,) = (line for line in made.replace("\\\n", " ").splitlines() if " up " in line)
    assert up.startswith("SEGUE_RECOMMENDER_PORT=0 docker compose ")
    assert "--profile observability --profile scale up " in up
    assert "--scale recommender=4" in up
