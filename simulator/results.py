"""What live episodes came to."""

from collections.abc import Iterable

import msgspec
import numpy as np

from simulator.core.summary import Summary, summarise


class Served(msgspec.Struct, frozen=True):
    """A recommendation as it was served; what a recommender does not tell is None.

    Attributes:
        row: Of the catalogue.
        recommender: What chose it.
        model_version: That it read.
        propensity: P(track | context) under what chose it.
        fallback: Why another recommender chose than the treatment's own.
        experiments: Treatment of the user per experiment.
    """

    row: int
    recommender: str | None = None
    model_version: str | None = None
    propensity: float | None = None
    fallback: str | None = None
    experiments: dict[str, str] = {}


class Playback(msgspec.Struct, frozen=True):
    """A track heard: its row, the fraction listened, what served it; nothing served the first."""

    row: int
    time: float
    served: Served | None


class Result(msgspec.Struct, frozen=True):
    """A finished episode: its reward is the total time, its steps are tracks.

    Attributes:
        episode, user: Which, and whose.
        time, tracks: Totals of the session.
        first: The first recommendation, for its recommender and the user's treatments.
        playbacks: In order; empty unless asked for.
    """

    episode: int
    user: int
    time: float
    tracks: int
    first: Served | None = None
    playbacks: tuple[Playback, ...] = ()


def summarise_results(results: Iterable[Result]) -> Summary:
    """Summarise episodes, in whatever order they finished."""
    ordered = sorted(results, key=lambda result: result.episode)
    return summarise(
        np.array([result.time for result in ordered], dtype=np.float64),
        np.array([result.tracks for result in ordered], dtype=np.int64),
    )
