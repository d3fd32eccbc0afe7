"""`python -m deploy.demo`: the whole loop against a running stack, step by step.

A log of simple recommenders, a model trained on it, a live experiment with the model, its result.
"""

import datetime
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence

from pydantic import ValidationError

from deploy.commands import run_module
from deploy.display import create_console
from deploy.services import train, wait_for_logger
from deploy.settings import DemoSettings
from deploy.steps import Show, Step, run_steps
from shared.exposure import make_authorization
from shared.settings import describe_invalid_settings

EXPERIMENT = "CONTEXTUAL"
RECIPE = "session"  # its versions serve `contextual`, too
SIMULATOR_CONFIG = "deploy/simulator.yaml"
CONCURRENCY = 64


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
        Step("Train a model on the log and publish it", lambda show: _train(settings, show)),
        Step(
            f"Let {settings.episodes:,} listeners take part in {EXPERIMENT} (seed {seed})",
            lambda show: _without_progress(experiment(show)),
        ),
        Step("Wait until every event is stored", lambda show: _wait(settings, show)),
        Step("Compare the treatments", lambda show: "\n".join(result(show))),
    ]


def _train(settings: DemoSettings, show: Show) -> str:
    trained = train(
        settings.trainer_url,
        timeout_s=settings.training_timeout_s,
        show=show,
        order={"recipe": RECIPE},
        headers=make_authorization(settings.api_token),
    )
    verdict = "serves" if trained.is_promoted else "does not serve"
    return f"model version {trained.version}, {verdict}: {trained.reason}"


def _wait(settings: DemoSettings, show: Show) -> str:
    n = wait_for_logger(settings.logger_url, timeout_s=settings.lag_timeout_s, show=show)
    return f"{n} dead letters"


def _without_progress(lines: Sequence[str]) -> str:
    return "\n".join(line for line in lines if not line.startswith("episodes:"))


def _last(lines: Sequence[str]) -> str:
    return lines[-1] if lines else ""


def main() -> int:
    """Run the demonstration against the services that the environment names."""
    try:
        settings = DemoSettings()
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    return 0 if run_steps(demo_steps(settings, os.environ), create_console()) else 1


if __name__ == "__main__":
    sys.exit(main())
