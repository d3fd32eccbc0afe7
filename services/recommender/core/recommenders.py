"""The recommenders: each chooses one track for a session and knows how likely that choice was."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, ClassVar, Literal, Protocol

import msgspec
import numpy as np

from services.recommender.core.catalog_index import CatalogIndex
from services.recommender.core.draws import Draw
from services.recommender.core.models import NO_MODEL, ServedModel
from shared.catalog import IntArray

NO_CANDIDATES = "no_candidates"
NOT_IN_MODEL = "not_in_model"
_MAX_REJECTIONS = 64
_NO_ROWS: IntArray = np.empty(0, np.int32)

Count = Annotated[int, msgspec.Meta(ge=1)]


class NoRecommendationError(Exception):
    """A recommender has nothing to offer; `reason` goes into the event."""

    def __init__(self, reason: str) -> None:
        """Keep the reason."""
        super().__init__(reason)
        self.reason = reason


class Remembered(Protocol):
    """What a recommender keeps of a session between two requests."""

    def pack(self) -> bytes:
        """Write it, for a request that another process may serve."""
        ...


class Choice(msgspec.Struct, frozen=True):
    """A catalogue row, and the probability with which it was chosen.

    Attributes:
        row: What to play.
        propensity: P(row | context).
        memory: What the recommender wants to read at the session's next request.
        explanation: Why this row, in numbers, if the context asks.
    """

    row: int
    propensity: float
    memory: Remembered | None = None
    explanation: dict[str, int | float] | None = None


class Context(msgspec.Struct, frozen=True, kw_only=True):
    """What a recommender may look at.

    Attributes:
        user: Listener id.
        track: Row just played.
        first: Row that opened the session.
        heard: Rows played or recommended in the session; none of them is eligible.
        draw: The decision's random numbers.
        catalog: All tracks.
        model: The treatment's model version, if there is one.
        no_model: Why there is none.
        played: Rows reported in the session, this one included, in order, -1 if the catalogue lost
            the track; empty unless the recommender `remembers`.
        times: Fraction listened to of each, in hundredths.
        memory: What the recommender returned at the session's last request, or that packed.
        explain: Whether the listener asked why.
    """

    user: int
    track: int
    first: int
    heard: set[int]
    draw: Draw
    catalog: CatalogIndex
    model: ServedModel | None = None
    no_model: str = NO_MODEL
    played: IntArray = _NO_ROWS
    times: Sequence[float] = ()
    memory: bytes | Remembered = b""
    explain: bool = False

    def require_model(self) -> ServedModel:
        """Return the model version, or say why there is none."""
        if self.model is None:
            raise NoRecommendationError(self.no_model)
        return self.model


class Recommender(Protocol):
    """One policy that a treatment can name; its fields are the treatment's parameters."""

    uses_model: ClassVar[bool]
    remembers: ClassVar[bool]

    def recommend(self, context: Context) -> Choice:
        """Choose a row that the session has not heard.

        Raises:
            NoRecommendationError: If there is none.
        """


class Capped(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The parameter that all recommenders share.

    Attributes:
        max_per_artist: Most tracks of one artist in a session; no limit by default.
    """

    remembers: ClassVar[bool] = False
    max_per_artist: Count | None = None

    def full_artists(self, context: Context) -> set[int]:
        """Return the artists of whom the session has heard as many tracks as it may."""
        if self.max_per_artist is None:
            return set()
        artists = context.catalog.artists
        heard = Counter(artists[row] for row in context.heard)
        return {artist for artist, n in heard.items() if n >= self.max_per_artist}

    def _eligible(self, rows: Iterable[int], context: Context) -> list[int]:
        """Keep rows that may be recommended, in order, each once; -1 pads."""
        heard, artists, full = context.heard, context.catalog.artists, self.full_artists(context)
        eligible = [row for row in dict.fromkeys(rows) if row >= 0 and row not in heard]
        if not full:  # spares looking up artists all over memory
            return eligible
        return [row for row in eligible if artists[row] not in full]

    def _draw_from(self, rows: Iterable[int], context: Context) -> Choice:
        """Draw one eligible row uniformly."""
        candidates = self._eligible(rows, context)
        if not candidates:
            raise NoRecommendationError(NO_CANDIDATES)
        return Choice(candidates[context.draw.below(len(candidates))], 1 / len(candidates))


class Random(Capped, frozen=True):
    """Any track, uniformly."""

    uses_model: ClassVar[bool] = False

    def recommend(self, context: Context) -> Choice:
        """Draw from the whole catalogue and reject what is not eligible: no scan."""
        catalog, heard, full = context.catalog, context.heard, self.full_artists(context)
        n_tracks, artists = len(catalog), catalog.artists
        # A full artist's tracks are out as a whole; of the others, those heard.
        n_out = sum(len(catalog.rows_by_artist[artist]) for artist in full)
        n_out += sum(artists[row] not in full for row in heard) if full else len(heard)
        if n_out >= n_tracks:
            raise NoRecommendationError(NO_CANDIDATES)
        for _ in range(_MAX_REJECTIONS):
            row = context.draw.below(n_tracks)
            if row not in heard and artists[row] not in full:
                return Choice(row, 1 / (n_tracks - n_out))
        # Hardly anything is left: list it. Both ways draw uniformly from the same set.
        return self._draw_from(range(n_tracks), context)


class TopPop(Capped, frozen=True):
    """One of the most popular tracks, uniformly.

    Attributes:
        n: How many count as most popular, those already heard included.
    """

    uses_model: ClassVar[bool] = True
    n: Count = 100

    def recommend(self, context: Context) -> Choice:
        """Draw from the top."""
        top_tracks = context.require_model().top_tracks
        if top_tracks is None:
            raise NoRecommendationError(NOT_IN_MODEL)
        return self._draw_from(top_tracks[: self.n].tolist(), context)


class StickyArtist(Capped, frozen=True):
    """Another track of the artist just played, uniformly."""

    uses_model: ClassVar[bool] = False

    def recommend(self, context: Context) -> Choice:
        """Draw from the artist's tracks."""
        catalog = context.catalog
        return self._draw_from(catalog.rows_by_artist[catalog.artists[context.track]], context)


class Indexed(Capped, frozen=True):
    """One of the tracks that the model holds ready for the user, uniformly."""

    uses_model: ClassVar[bool] = True

    def recommend(self, context: Context) -> Choice:
        """Draw from the user's list."""
        model = context.require_model()
        row = model.user_rows.get(context.user)
        if model.user_tracks is None or row is None:
            raise NoRecommendationError(NOT_IN_MODEL)
        return self._draw_from(model.user_tracks[row].tolist(), context)


class Contextual(Capped, frozen=True):
    """A neighbour, in the model, of a track of the session.

    Attributes:
        anchor: Whose neighbours: of the session's first track, or of the one just played.
        choice: Any of them, uniformly, or the best.
    """

    uses_model: ClassVar[bool] = True
    anchor: Literal["first", "last"] = "first"
    choice: Literal["uniform", "best"] = "uniform"

    def recommend(self, context: Context) -> Choice:
        """Choose from the anchor's neighbours."""
        neighbours = context.require_model().neighbours
        if neighbours is None:
            raise NoRecommendationError(NOT_IN_MODEL)
        anchor = context.first if self.anchor == "first" else context.track
        rows: list[int] = neighbours[anchor].tolist()
        if self.choice == "uniform":
            return self._draw_from(rows, context)
        candidates = self._eligible(rows, context)
        if not candidates:
            raise NoRecommendationError(NO_CANDIDATES)
        return Choice(candidates[0], 1.0)
