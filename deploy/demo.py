"""`python -m deploy.demo`: the whole loop against a running stack, step by step.

A log of simple recommenders, a model trained on it, a live experiment with the model, its result.
"""

import datetime
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

import httpx
from rich.console import Console
from rich.markup import escape

from deploy.commands import run_module
from deploy.display import create_console, format_duration
from deploy.errors import DeployError
from deploy.settings import DemoSettings

EXPERIMENT = "CONTEXTUAL"
SIMULATOR_CONFIG = "deploy/simulator.yaml"
CONCURRENCY = 64
POLL_S = 0.5
REQUEST_TIMEOUT_S = 30.0

Show = Callable[[str], None]


class StepError(DeployError):
    """A step that failed; the message says what happened."""


@dataclass(frozen=True)
class Step:
    """One step of the demonstration.

    Attributes:
        title: What it does.
        run: Does it, shows its progress through its argument, and returns what came out.
    """

    title: str
    run: Callable[[Show], str]


def run_steps(steps: Sequence[Step], console: Console) -> bool:
    """Run steps in order, each with its time; return False at the first that fails."""
    started_at = time.monotonic()
    for number, step in enumerate(steps, start=1):
        console.print(f"[bold]{number}/{len(steps)}[/] {escape(step.title)}")
        step_started_at = time.monotonic()
        try:
            outcome = _run_step(step, console)
        except (DeployError, httpx.HTTPError) as error:
            console.print(f"    [bold red]{escape(step.title)}: failed[/]")
            console.print(str(error) or repr(error), markup=False)
            return False
        if outcome:
            console.print(outcome, markup=False)
        console.print(f"    [dim]{time.monotonic() - step_started_at:.1f} s[/]")
    console.print(f"Done in {format_duration(time.monotonic() - started_at)}.")
    return True


def _run_step(step: Step, console: Console) -> str:
    status = console.status("")

    def show(line: str) -> None:
        status.update(escape(line))
        status.start()

    try:
        return step.run(show)
    finally:
        status.stop()


def demo_steps(settings: DemoSettings, environment: Mapping[str, str]) -> list[Step]:
    """List the steps that follow the start of the stack."""
    # A day's history is the same each time it is generated, so that it is stored once.
    history_seed = datetime.datetime.now(datetime.UTC).date().toordinal()
    # The live experiment is another each time.
    seed = time.time_ns() // 1_000_000 % 2**31

    simulator = {
        "SEGUE_SIMULATOR_WORLD": str(settings.world),
        "SEGUE_SIMULATOR_RECOMMENDER__URL": settings.recommender_url,
    }

    def command(name: str, *arguments: str) -> Callable[[Show], list[str]]:
        log = settings.logs / f"demo-{name}.log"
        return lambda show: run_module(
            arguments, log=log, environment={**environment, **simulator}, show=show
        )

    history = command(
        "history",
        *("simulator", "history", "--world", str(settings.world)),
        *("--sessions", str(settings.sessions), "--seed", str(history_seed)),
        *("--logger", settings.logger_url),
    )
    experiment = command(
        "experiment",
        *("simulator", "--episodes", str(settings.episodes), "--config", SIMULATOR_CONFIG),
        *("run", "--days", "1", "--concurrency", str(CONCURRENCY), "--seed", str(seed)),
    )
    result = command("result", "analysis", EXPERIMENT)
    return [
        Step(
            f"Log a history of {settings.sessions:,} sessions (seed {history_seed})",
            lambda show: _last(history(show)),
        ),
        Step("Train a model on the log and publish it", lambda show: train(settings, show)),
        Step(
            f"Let {settings.episodes:,} listeners take part in {EXPERIMENT} (seed {seed})",
            lambda show: _without_progress(experiment(show)),
        ),
        Step("Wait until every event is stored", lambda show: wait_for_logger(settings, show)),
        Step("Compare the treatments", lambda show: "\n".join(result(show))),
    ]


def train(settings: DemoSettings, show: Show) -> str:
    """Ask the trainer for a model version and follow the job to its end.

    Raises:
        StepError: If the job is refused, fails, or takes too long.
    """
    with httpx.Client(base_url=settings.trainer_url, timeout=REQUEST_TIMEOUT_S) as client:
        answer = client.post("/train")
        job = _read(answer)
        deadline = time.monotonic() + settings.training_timeout_s
        while job["status"] == "running":
            if time.monotonic() > deadline:
                raise StepError(f"training is not over after {settings.training_timeout_s:g} s")
            show(_describe_progress(job["progress"]))
            time.sleep(POLL_S)
            job = _read(client.get(answer.headers["Location"]))
    if job["status"] != "succeeded":
        raise StepError(f"training {job['status']}: {job['error']}")
    return f"model version {job['model_version']}"


def wait_for_logger(settings: DemoSettings, show: Show) -> str:
    """Wait until the logger has stored all that the recommender has answered.

    Raises:
        StepError: If it takes too long.
    """
    deadline = time.monotonic() + settings.lag_timeout_s
    with httpx.Client(base_url=settings.logger_url, timeout=REQUEST_TIMEOUT_S) as client:
        while True:
            lag = _read(client.get("/lag"))
            behind = lag["undelivered"] + lag["pending"]
            if behind == 0:
                return f"{lag['dead_letters']} dead letters"
            if time.monotonic() > deadline:
                limit = settings.lag_timeout_s
                raise StepError(f"{behind} events are not stored after {limit:g} s")
            show(f"{behind} to go")
            time.sleep(POLL_S)


def _describe_progress(progress: Mapping[str, Any]) -> str:
    epoch = f", epoch {progress['epoch']}" if "epoch" in progress else ""
    return f"{progress.get('stage', 'waiting')}{epoch}"


def _read(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise StepError(f"{response.request.url} answers {response.status_code}: {response.text}")
    return cast("dict[str, Any]", response.json())


def _without_progress(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if not line.startswith("episodes:"))


def _last(lines: Sequence[str]) -> str:
    return lines[-1] if lines else ""


def main() -> int:
    """Run the demonstration against the services that the environment names."""
    settings = DemoSettings()
    return 0 if run_steps(demo_steps(settings, os.environ), create_console()) else 1


if __name__ == "__main__":
    sys.exit(main())
