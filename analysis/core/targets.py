"""Policies that an estimate asks about, as probabilities: what each would serve in a situation.

They say in probabilities what the recommenders do; a contract test holds them against the
recommenders' own propensities.
"""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol

import msgspec
import numpy as np
import numpy.typing as npt

from analysis.core.exposures import Decision, IntArray, Tracks


class UnknownPolicyError(ValueError):
    """A policy whose choices cannot be computed from the log; the message says why."""


class Model(msgspec.Struct, frozen=True):
    """What policies read of a model version; every number is a row of `Tracks`, -1 pads.

    Attributes:
        neighbours: (n_tracks, k), best first.
        top_tracks: Best first.
        user_tracks: Rows per user id.
    """

    neighbours: IntArray | None = None
    top_tracks: list[int] | None = None
    user_tracks: Mapping[int, list[int]] | None = None


class Choices(Protocol):
    """Rows, each as likely as any other."""

    def __len__(self) -> int: ...

    def __contains__(self, row: object) -> bool: ...

    def draw(self, generator: np.random.Generator, n: int) -> IntArray:
        """Draw n rows, each on its own."""
        ...


class Few(list[int]):
    """Choices that can be listed."""

    def draw(self, generator: np.random.Generator, n: int) -> IntArray:
        """Draw n rows."""
        return np.array(self, np.int32)[generator.integers(0, len(self), n)]


@dataclasses.dataclass(frozen=True)
class AllBut:
    """All tracks but a few.

    Attributes:
        n_tracks: All.
        out: Rows that are no choices.
    """

    n_tracks: int
    out: set[int]

    def __len__(self) -> int:
        return self.n_tracks - len(self.out)

    def __contains__(self, row: object) -> bool:
        return row not in self.out

    def draw(self, generator: np.random.Generator, n: int) -> IntArray:
        """Draw n rows: too many, until enough of them are choices."""
        kept = np.empty(0, np.int32)
        out = np.fromiter(self.out, np.int32, len(self.out))
        while len(kept) < n:
            drawn = generator.integers(0, self.n_tracks, 2 * n, dtype=np.int32)
            kept = np.append(kept, drawn[~np.isin(drawn, out)])
        return kept[:n]


class Step(Protocol):
    """One recommender of a policy: what it would serve, or None to let the next answer."""

    def __call__(self, decision: Decision) -> Choices | None:
        """Return the choices."""
        ...


class Target:
    """A policy: recommenders in the order in which they answer."""

    def __init__(self, steps: Sequence[Step]) -> None:
        """Make it; the last answers wherever any track is left."""
        self._steps = steps

    def choices(self, decision: Decision) -> Choices:
        """Return what it would serve, each choice as likely as any other.

        Raises:
            UnknownPolicyError: If nothing is left to serve.
        """
        for step in self._steps:
            found = step(decision)
            if found:
                return found
        raise UnknownPolicyError("a session has heard every track: there is nothing to serve")


class Parameters(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Of all recommenders whose choices can be computed."""

    max_per_artist: int | None = None
    n: int = 100
    anchor: Literal["first", "last"] = "first"
    choice: Literal["uniform", "best"] = "uniform"


# Who answers when a recommender cannot; `random` does so without the cap on artists.
FALLBACKS: Mapping[str, tuple[str, ...]] = {
    "contextual": ("top_pop",),
    "indexed": ("top_pop",),
    "top_pop": (),
    "sticky_artist": (),
    "random": (),
}


# Serve without a model version.
MODEL_FREE = ("random", "sticky_artist")


def is_computable(recommender: str) -> bool:
    """Say whether what a recommender serves follows from what the log holds."""
    return recommender in FALLBACKS


def make_target(
    recommender: str, parameters: Mapping[str, Any], *, tracks: Tracks, model: Model
) -> Target:
    """Make the policy of a treatment.

    Args:
        recommender: Its name.
        parameters: As the treatment has them.
        tracks: The catalogue.
        model: The model version that it serves from; what it lacks, fallbacks answer.

    Raises:
        UnknownPolicyError: If its choices cannot be computed, or a parameter is wrong.
    """
    if not is_computable(recommender):
        raise UnknownPolicyError(
            f"what {recommender!r} serves cannot be computed from the log (of "
            f"{', '.join(FALLBACKS)} it can): try it live"
        )
    try:
        own = msgspec.convert(dict(parameters), Parameters)
    except msgspec.ValidationError as error:
        raise UnknownPolicyError(f"{recommender}: {error}") from error
    policies = _Policies(tracks, model, own)
    names = (recommender, *FALLBACKS[recommender])
    cap_only = _Policies(tracks, model, Parameters(max_per_artist=own.max_per_artist))
    free = _Policies(tracks, model, Parameters())
    steps = [getattr(policies, recommender), *(getattr(cap_only, name) for name in names[1:])]
    return Target([*steps, free.random])


class _Policies:
    """The recommenders of one treatment, as steps."""

    def __init__(self, tracks: Tracks, model: Model, parameters: Parameters) -> None:
        self._tracks = tracks
        self._model = model
        self._parameters = parameters
        self._artists = tracks.artists
        order = np.argsort(tracks.artists, kind="stable")
        bounds = np.searchsorted(tracks.artists[order], np.arange(tracks.artists.max() + 2))
        self._by_artist = order, bounds

    def random(self, decision: Decision) -> Choices | None:
        out = decision.heard
        full = self._full_artists(decision)
        if full:
            out = out | {row for artist in full for row in self._rows_of(artist)}
        choices = AllBut(len(self._tracks), out)
        return choices if len(choices) else None

    def top_pop(self, decision: Decision) -> Choices | None:
        top = self._model.top_tracks
        return None if top is None else self._eligible(top[: self._parameters.n], decision)

    def sticky_artist(self, decision: Decision) -> Choices | None:
        return self._eligible(self._rows_of(int(self._artists[decision.last])), decision)

    def indexed(self, decision: Decision) -> Choices | None:
        lists = self._model.user_tracks
        rows = None if lists is None else lists.get(decision.user)
        return None if rows is None else self._eligible(rows, decision)

    def contextual(self, decision: Decision) -> Choices | None:
        if self._model.neighbours is None:
            return None
        anchor = decision.first if self._parameters.anchor == "first" else decision.last
        found = self._eligible(self._model.neighbours[anchor].tolist(), decision)
        return Few(found[:1]) if self._parameters.choice == "best" else found

    def _eligible(self, rows: Iterable[int], decision: Decision) -> Few:
        full = self._full_artists(decision)
        return Few(
            row
            for row in dict.fromkeys(rows)
            if row >= 0
            and row not in decision.heard
            and not (full and int(self._artists[row]) in full)
        )

    def _full_artists(self, decision: Decision) -> set[int]:
        cap = self._parameters.max_per_artist
        if cap is None:
            return set()
        return {artist for artist, n in decision.artists.items() if n >= cap}

    def _rows_of(self, artist: int) -> list[int]:
        order, bounds = self._by_artist
        rows: npt.NDArray[np.intp] = order[bounds[artist] : bounds[artist + 1]]
        found: list[int] = rows.tolist()
        return found
