"""Logged sessions, decision by decision: what was known, what was served, what came of it."""

import dataclasses
from collections import Counter
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

IntArray = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True)
class Tracks:
    """The catalogue as off-policy estimates read it, by row.

    Attributes:
        ids: Track id per row.
        artists: Artist number per row.
        genres: Genre number per row, -1 if unknown.
    """

    ids: IntArray
    artists: IntArray
    genres: IntArray

    def __len__(self) -> int:
        return len(self.ids)


@dataclasses.dataclass(frozen=True)
class LoggedSession:
    """One session in the order in which it was heard; tracks are rows.

    Attributes:
        user: Listener id.
        tracks: Heard, the first of which the listener chose.
        times: Fraction listened to of each.
        recommendations: What was answered to each; None at the end.
        propensities: P(recommendation) under the policy that served; None if it is unknown.
    """

    user: int
    tracks: Sequence[int]
    times: Sequence[float]
    recommendations: Sequence[int | None]
    propensities: Sequence[float | None]


@dataclasses.dataclass(frozen=True, slots=True)
class Decision:
    """What a recommender knew, what was served, and how long the listener stayed.

    `heard` and `artists` are the session's own and change with its next decision.

    Attributes:
        user: Listener id.
        step: Recommendations so far, this one included, from 1.
        first: Row that opened the session.
        last: Row just played.
        heard: Rows played or recommended.
        artists: Tracks heard per artist number.
        mean_time: Mean time of the recommendations so far; NaN before the first.
        served: Row that was served.
        propensity: P(served) under the policy that served.
        reward: Fraction of it that was listened to.
    """

    user: int
    step: int
    first: int
    last: int
    heard: set[int]
    artists: Counter[int]
    mean_time: float
    served: int
    propensity: float
    reward: float


def replay(session: LoggedSession, tracks: Tracks) -> Iterator[Decision]:
    """Go through a session's decisions; it ends at the first whose outcome the log does not hold.

    Each decision is to be used before the next is asked for.
    """
    heard: set[int] = set()
    artists: Counter[int] = Counter()
    total = 0.0

    def hear(row: int) -> None:
        if row not in heard:
            heard.add(row)
            artists[int(tracks.artists[row])] += 1

    for step, played in enumerate(session.tracks[:-1], start=1):
        hear(played)
        served, propensity = session.recommendations[step - 1], session.propensities[step - 1]
        if served is None or propensity is None or session.tracks[step] != served:
            return
        yield Decision(
            user=session.user,
            step=step,
            first=session.tracks[0],
            last=played,
            heard=heard,
            artists=artists,
            mean_time=total / (step - 1) if step > 1 else float("nan"),
            served=served,
            propensity=propensity,
            reward=session.times[step],
        )
        hear(served)
        total += session.times[step]
