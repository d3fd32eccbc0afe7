"""The engine of this process: the services' own decisions and training, without the services."""

import time
from dataclasses import dataclass, field

from deploy.loop.engine import Arrays, Trained
from deploy.loop.forks import run_forked
from deploy.loop.plan import Plan
from deploy.loop.playing import Theatre
from deploy.loop.plays import Plays, Visits, from_rollout, join_plays, to_trainer_log
from deploy.steps import Show, StepError, count_up
from services.recommender.core.models import Models
from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import (
    DEFAULT_DIMS,
    RecipeName,
    TrainingParameters,
    report_nothing,
)
from services.trainer.core.playbacks import make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from shared.catalog import Catalog
from simulator.history import play_history


@dataclass
class InProcess:
    """Keeps the log as columns, in order of days."""

    plan: Plan
    catalog: Catalog
    theatre: Theatre
    models: Models = field(default_factory=Models)
    log: list[Plays] = field(default_factory=list)
    _arrays: Arrays | None = None

    def log_history(self, show: Show) -> Visits:
        """Play the simple recommenders."""
        played = play_history(
            self.theatre.dynamics, seed=self.plan.seed, n_sessions=self.plan.history
        )
        history = join_plays([from_rollout(part) for part in played.parts if len(part)])
        self.log.append(history)
        return history.visits

    def train(self, day: int, show: Show) -> Trained:
        """Train in a process of its own, as the trainer does."""
        started = time.monotonic()
        try:
            fitted = run_forked(
                fit_days, self.log, self.catalog, "session", self.plan.seed, self._arrays
            )
        except TrainingError as error:
            raise StepError(f"training failed: {error}") from error
        seconds = time.monotonic() - started
        trained = Trained(
            version=f"day-{day}", arrays=fitted.arrays, metrics=fitted.metrics, seconds=seconds
        )
        self.models = self.theatre.serve(trained)
        self._arrays = fitted.arrays
        return trained

    def play_day(self, day: int, show: Show) -> Visits:
        """Play both arms."""
        episodes = self.plan.episodes(day)
        played = self.theatre.play(
            self.plan.experiments(),
            self.models,
            episodes,
            advance=count_up(show, len(episodes), "sessions"),
        )
        self.log.append(played)
        return played.visits


def fit_days(
    log: list[Plays],
    catalog: Catalog,
    recipe: RecipeName,
    seed: int,
    warm: Arrays | None = None,
) -> Fitted:
    """Train a recipe on days, with its default parameters.

    Args:
        log: The days.
        catalog: Of their tracks.
        recipe: Its name.
        seed: Of the training.
        warm: Arrays of the version to start from, if any.
    """
    parameters = TrainingParameters(recipe=recipe, dim=DEFAULT_DIMS[recipe], seed=seed)
    playbacks = make_log(to_trainer_log(log, catalog))
    return fit_recipe(playbacks, catalog, parameters=parameters, report=report_nothing, warm=warm)
