"""What a loop is a function of: its sizes, its seed, and the two arms."""

from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np

from shared.definitions import parse_experiments
from shared.experiments import ExperimentSet
from simulator.core.dynamics import EpisodeArray
from simulator.core.listeners import IntArray
from simulator.core.world import WorldParameters

EXPERIMENT = "LOOP"
CONTROL, TREATMENT = "C", "T1"
TRACKS_PER_ARTIST = 10

# Sessions that judge a model are none of those that are logged.
FIRST_JUDGED = 2**40


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A loop's sizes and seed.

    Attributes:
        days: With a new model each; the history is the day before the first.
        tracks, users: Of the world.
        history: Sessions of simple recommenders.
        sessions: Of a day, both arms together.
        judged: Sessions that judge each day's model, without exploration and without a log.
        bounded: Sessions of the oracle, the first of those.
        seed: Of the world, its listeners, the recommender and the trainings.
        bonus, epsilon: The treatment's exploration.
        most_plays: A session is cut there.
    """

    days: int = 5
    tracks: int = 50_000
    users: int = 10_000
    history: int = 97_000
    sessions: int = 20_000
    judged: int = 2_000
    bounded: int = 500
    seed: int = 1
    bonus: float = 0.5
    epsilon: float = 0.01
    most_plays: int = 3_000

    @property
    def world(self) -> WorldParameters:
        """What the world is generated from."""
        return WorldParameters(
            n_tracks=self.tracks,
            n_artists=max(1, self.tracks // TRACKS_PER_ARTIST),
            n_users=self.users,
            seed=self.seed,
        )

    def episodes(self, day: int) -> EpisodeArray:
        """Return a day's episodes, days counted from 1; the history has those before."""
        first = self.history + (day - 1) * self.sessions
        return np.arange(first, first + self.sessions)

    def count_cut(self, lengths: IntArray) -> int:
        """Count the sessions that were cut, by their playbacks."""
        return int(np.count_nonzero(lengths >= self.most_plays))

    def experiments(self, *, explores: bool = True) -> ExperimentSet:
        """Define the experiment: `random` against `session`.

        Args:
            explores: Whether the treatment does; judging a model, it does not.
        """
        parameters = {"bonus": self.bonus, "epsilon": self.epsilon} if explores else {}
        return make_experiments("session", parameters)


def make_experiments(recommender: str, parameters: dict[str, Any]) -> ExperimentSet:
    """Define an experiment of `random` against a recommender."""
    control = {"name": CONTROL, "recommender": "random"}
    treatment = {"name": TREATMENT, "recommender": recommender, "parameters": parameters}
    experiment = {"name": EXPERIMENT, "treatments": [control, treatment]}
    definition = {"serving": EXPERIMENT, "experiments": [experiment]}
    return parse_experiments(msgspec.yaml.encode(definition))
