"""The recommender that learns a session's taste while it plays."""

from typing import Annotated, ClassVar

import msgspec
import numpy as np
import numpy.typing as npt

from services.recommender.core.draws import Draw
from services.recommender.core.recommenders import (
    NO_CANDIDATES,
    NOT_IN_MODEL,
    Capped,
    Choice,
    Context,
    Count,
    NoRecommendationError,
    Remembered,
)
from services.recommender.core.session_candidates import (
    Candidates,
    collect,
    draw_candidates,
    expected_times,
)
from services.recommender.core.session_memory import (
    Memory,
    make_tag,
    pack_memory,
    unpack_memory,
)
from services.recommender.core.session_start import start
from services.recommender.core.session_taste import (
    Taste,
    observe,
)
from services.recommender.core.taste_model import FloatArray, IntArray, TasteModel

_COINS = 2**53

CandidateCount = Annotated[int, msgspec.Meta(ge=1, le=10_000)]
Share = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Mask = npt.NDArray[np.bool_]
Bonus = Annotated[float, msgspec.Meta(ge=0.0, le=10.0)]


class Known(msgspec.Struct, frozen=True, eq=False):
    """A memory that has not left this process; equal if what would leave it is.

    Attributes:
        memory: What is known.
        tag: What it depends on.
        candidates: Those of the choice that was made from it; None if it was unpacked.
    """

    memory: Memory
    tag: bytes
    candidates: Candidates | None = None

    def pack(self) -> bytes:
        """Write it."""
        return pack_memory(self.memory, self.tag)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Known) and self.pack() == other.pack()

    def __hash__(self) -> int:
        return hash(self.pack())


class SessionTaste(Capped, frozen=True):
    """The track with the largest expected time, by a taste that every playback refines.

    Attributes:
        candidates: Tracks to choose among until they are drawn again.
        refresh_every: Playbacks after which that happens, from the whole catalogue.
        epsilon: Probability of a candidate drawn uniformly instead of the best.
        bonus: Standard deviations of a track's own uncertainty that are added to its logit.
    """

    uses_model: ClassVar[bool] = True
    remembers: ClassVar[bool] = True
    candidates: CandidateCount = 2000
    refresh_every: Count = 10
    epsilon: Share = 0.0
    bonus: Bonus = 0.0

    def recommend(self, context: Context) -> Choice:
        """Bring the taste up to date, and choose."""
        version = context.require_model()
        model = version.taste
        if model is None:
            raise NoRecommendationError(NOT_IN_MODEL)
        tag = make_tag(
            version.version,
            context.user,
            context.first,
            self.candidates,
            self.refresh_every,
            self.bonus,
        )
        known = _recall(context.memory, tag)
        memory = self._follow(model, context, known.memory if known else None)
        counts = _count_artists(model, context)
        candidates = self._find_candidates(model, memory, known)
        is_out = self._rule_out(model, candidates.rows, context)
        if is_out.all():
            candidates = self._draw_all(model, memory.taste, context)
            is_out = self._rule_out(model, candidates.rows, context)
        if is_out.all():
            raise NoRecommendationError(NO_CANDIDATES)
        values = expected_times(
            model, memory.taste, candidates, n_same_artist=counts.take(candidates.artists)
        )
        place, propensity = pick(values, is_out, epsilon=self.epsilon, draw=context.draw)
        row = int(candidates.rows[place])
        explanation = None
        if context.explain:
            n_same, n = int(counts[model.artists[row]]), int(np.count_nonzero(~is_out))
            explanation = _explain(
                model, memory.taste, row, n_same=n_same, value=values[place], n=n
            )
        return Choice(row, propensity, Known(memory, tag, candidates), explanation)

    def _follow(self, model: TasteModel, context: Context, memory: Memory | None) -> Memory:
        """Learn the playbacks that a memory lacks: one as a rule, all if there is no memory."""
        rows, times = context.played, context.times
        n_plays = max(len(rows), 1)
        if memory is None or memory.n_plays > n_plays:
            taste = start(model, user=context.user, first=context.first)
            memory = Memory(taste, 1, np.empty(0, np.int32))
            is_stale = True
        else:
            is_stale = False
        taste, candidates = memory.taste, memory.candidates
        # Between two draws only the last one counts.
        redrawn_at = (n_plays - 1) // self.refresh_every * self.refresh_every + 1
        is_stale |= memory.n_plays < redrawn_at
        for n in range(memory.n_plays, n_plays + 1):
            if n > memory.n_plays:
                taste = _learn(model, taste, rows[: n - 1], row=int(rows[n - 1]), time=times[n - 1])
            if n == redrawn_at and is_stale:
                candidates = draw_candidates(
                    model,
                    taste,
                    played=_known(rows[:n]),
                    n=self.candidates,
                    bonus=self.bonus,
                )
        return Memory(taste, n_plays, candidates)

    def _find_candidates(
        self, model: TasteModel, memory: Memory, known: Known | None
    ) -> Candidates:
        """Look the memory's candidates up, if the last request did not leave them here."""
        if known is not None and known.candidates and known.candidates.rows is memory.candidates:
            return known.candidates
        return collect(model, memory.candidates, bonus=self.bonus)

    def _rule_out(self, model: TasteModel, rows: IntArray, context: Context) -> Mask:
        """Mark those of ascending rows that may not be recommended."""
        is_out = np.zeros(len(rows), np.bool_)
        if not len(rows):
            return is_out
        heard = np.fromiter(context.heard, np.int32, len(context.heard))
        places = rows.searchsorted(heard)
        is_out[places[rows.take(places, mode="clip") == heard]] = True
        full = self.full_artists(context)
        if full:
            is_full = np.zeros(model.n_artists, np.bool_)
            is_full[list(full)] = True
            is_out |= is_full[model.artists[rows]]
        return is_out

    def _draw_all(self, model: TasteModel, taste: Taste, context: Context) -> Candidates:
        """Look beyond the candidates, all of which are out: for this one choice."""
        everything = np.arange(len(model.artists), dtype=np.int32)
        out = np.flatnonzero(self._rule_out(model, everything, context)).astype(np.int32)
        rows = draw_candidates(model, taste, played=out, n=self.candidates, bonus=self.bonus)
        return collect(model, rows, bonus=self.bonus)


def pick(values: FloatArray, is_out: Mask, *, epsilon: float, draw: Draw) -> tuple[int, float]:
    """Choose the best place, or any; return it with its probability.

    Args:
        values: By place, at least 0.
        is_out: Places that cannot be chosen; not all.
        epsilon: Probability of drawing a place uniformly, the best one included.
        draw: The decision's random numbers.
    """
    n = len(values) - int(np.count_nonzero(is_out))
    best = place = int(np.where(is_out, -1.0, values).argmax())
    if epsilon > 0 and draw.below(_COINS) < epsilon * _COINS:
        place = int(np.flatnonzero(~is_out)[draw.below(n)])
    return place, epsilon / n + (1 - epsilon if place == best else 0.0)


def _recall(memory: bytes | Remembered, tag: bytes) -> Known | None:
    """Return what is known of the session, if it is this version's and this treatment's."""
    if isinstance(memory, Known):
        return memory if memory.tag == tag else None
    unpacked = unpack_memory(memory, tag) if isinstance(memory, bytes) else None
    return Known(unpacked, tag) if unpacked else None


def _learn(model: TasteModel, taste: Taste, earlier: IntArray, *, row: int, time: float) -> Taste:
    """Observe one playback; a repeat, or a track that left the catalogue, says nothing."""
    if row < 0 or (earlier == row).any():
        return taste
    artists = model.artists[_known(earlier)]
    n_same_artist = int(np.count_nonzero(artists == model.artists[row]))
    return observe(model, taste, track=row, time=time, n_same_artist=n_same_artist)


def _count_artists(model: TasteModel, context: Context) -> np.ndarray:
    played = _known(context.played) if len(context.played) else [context.first]
    return np.bincount(model.artists[played], minlength=model.n_artists)


def _known(rows: IntArray) -> IntArray:
    return rows[rows >= 0]


def _explain(
    model: TasteModel, taste: Taste, row: int, *, n_same: int, value: float, n: int
) -> dict[str, int | float]:
    """Say in numbers why a track was chosen; the anchor is a row, as everywhere in `core`."""
    track = model.tracks[row].astype(np.float64)
    variance = max(float(track @ taste.covariance @ track), 0.0)
    discount = model.gamma**n_same
    return {
        "score": float(value) / discount,
        "discount": discount,
        "candidates": n,
        "uncertainty": float(np.sqrt(variance)),
    }
