"""The whole stack, started as a user starts it, on free ports and in a folder of its own."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import free_port

ROOT = Path(__file__).parents[2]
PROGRAMS = ("redis", "postgres", "logger", "recommender", "trainer", "dashboard")
SIZES = {
    "SEGUE_DEMO_TRACKS": "3000",
    "SEGUE_DEMO_SESSIONS": "20000",
    "SEGUE_DEMO_EPISODES": "800",
    "SEGUE_TRAINER_MAP_TRACKS": "300",
}


@dataclass(frozen=True)
class RunningStack:
    """A stack that runs, and how to talk to it."""

    environment: dict[str, str]
    demo: str

    def url(self, service: str) -> str:
        """Return where a service is reached."""
        return f"http://127.0.0.1:{self.environment[f'SEGUE_{service.upper()}_PORT']}"

    @property
    def dsn(self) -> str:
        """Return where Postgres is reached."""
        port = self.environment["SEGUE_POSTGRES_PORT"]
        return f"postgresql://postgres@127.0.0.1:{port}/segue"

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of a module of ours."""
        return [sys.executable, "-m", *arguments]

    def run(self, *arguments: str, timeout_s: float = 120) -> str:
        """Run a module of ours and return what it prints."""
        return run(self.command(*arguments), self.environment, timeout_s=timeout_s)

    def analyse(self, experiment: str) -> dict[str, Any]:
        """Return the analysis of an experiment."""
        answer = self.run("analysis", experiment, "--format", "json", "--dsn", self.dsn)
        result: dict[str, Any] = json.loads(answer)
        return result

    def play(self, *, episodes: int, seed: int) -> dict[str, Any]:
        """Play live episodes and return their summary."""
        result: dict[str, Any] = json.loads(self.run(*self.episodes(episodes=episodes, seed=seed)))
        return result

    def episodes(self, *, episodes: int, seed: int) -> tuple[str, ...]:
        """Return the arguments that play live episodes."""
        return (
            *("simulator", "--episodes", str(episodes), "--config", "deploy/simulator.yaml"),
            *("run", "--concurrency", "32", "--seed", str(seed), "--json"),
        )

    def wait_until_stored(self, *, timeout_s: float = 60) -> None:
        """Wait until the logger has nothing left to store."""
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            try:
                lag = httpx.get(f"{self.url('logger')}/lag", timeout=5).json()
                if lag["undelivered"] + lag["pending"] == 0:
                    return
            except (httpx.HTTPError, KeyError):
                pass  # it may be starting again
            time.sleep(0.2)
        raise TimeoutError("the logger is behind")


def run(command: list[str], environment: dict[str, str], *, timeout_s: float) -> str:
    """Run a command and return its output; fail with everything that it printed."""
    result = subprocess.run(
        command,
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
    )
    if result.returncode != 0:
        raise AssertionError(
            f"{command} exited with {result.returncode}:\n{result.stdout}\n{result.stderr}"
        )
    return result.stdout


@pytest.fixture(scope="session")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningStack]:
    """Run the demonstration once, small, and leave its stack for all tests of the circle."""
    folder = tmp_path_factory.mktemp("stack")
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("SEGUE_")},
        **{f"SEGUE_{name.upper()}_PORT": str(free_port()) for name in PROGRAMS},
        **SIZES,
        "SEGUE_STATE": str(folder / "state"),
        "SEGUE_API_TOKEN": "",  # whatever a .env says
        "SEGUE_SIMULATOR_WORLD": str(folder / "state" / "world"),
    }
    port = environment["SEGUE_RECOMMENDER_PORT"]
    environment["SEGUE_SIMULATOR_RECOMMENDER__URL"] = f"http://127.0.0.1:{port}"
    command = [sys.executable, "-m", "deploy.local"]
    try:
        demo = run([*command, "demo"], environment, timeout_s=280)
        yield RunningStack(environment, demo)
    finally:
        run([*command, "clean"], environment, timeout_s=120)
