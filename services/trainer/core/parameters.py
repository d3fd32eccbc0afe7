"""What a training can be told."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from services.trainer.core.promotion import Promote

NeighboursBy = Literal["concatenation", "track_half"]
NegativesFrom = Literal["anywhere", "other_clusters"]
RecipeName = Literal["artist_concat", "track_only", "session"]
POSTGRES = "postgres"
Engine = Literal["inline", "ray"]
DEFAULT_DIMS: dict[RecipeName, int] = {"artist_concat": 100, "track_only": 100, "session": 32}
Stage = Literal[
    "reading",
    "pairing",
    "training",
    "evaluating",
    "neighbours",
    "comparing",
    "publishing",
    "drawing",
]

Report = Callable[..., None]
"""Called with a stage and the fields that tell how far it is."""


@dataclass(frozen=True, kw_only=True)
class TrainingParameters:
    """Parameters of a training.

    Attributes:
        recipe: `artist_concat`: a track's embedding is its own and its artist's, concatenated;
            `track_only`: its own alone; `session`: beliefs about tracks, listeners and interests.
        dim: Of an embedding's half; of `session`, of the embedding.
        epochs: At most; training ends when the validation loss no longer falls (early stopping).
        learning_rate: Of Adam.
        batch_size: At most; a small log is cut into smaller batches.
            `session` has epochs, learning rate and batch size of its own.
        neighbours: Recommendations per track.
        neighbours_by: Of `artist_concat`: the full concatenations, or the tracks' own halves alone.
        initial_scale: Standard deviation of the random numbers that embeddings start from.
        negatives: Enrichment: per context track, so many tracks that never followed it are added
            to the training pairs as if nothing of them had been listened to.
        negatives_from: Anywhere in the catalogue, or only from other clusters of the context
            embeddings than the context track's; those are of a training without negatives.
        clusters: Of the context embeddings.
        seed: The same seed and data give the same bits on the same kind of machine.
        engine: Who does what can be done in parts: this process, or the workers of a Ray cluster.
        source: Of the log: `postgres`, or the URL of an exported one.
        since, until: Half-open window of playback times; None is unbounded.
        window_days: Instead of `since`: days before the time at which the log is read.
        held_out: Share of the sessions, the latest, that judge the version. Pair recipes choose the
            epoch on the earlier half of them and never learn from any; `session` learns from them
            once it was judged. 0, for `session` alone, judges nothing.
        warm_start: Whether to start from the arrays of the version that serves, if it is of the
            same recipe, dim and catalogue.
        promote: Whether the version is to serve: `auto` if it is not worse than the one that
            serves, `always`, `never`.
    """

    recipe: RecipeName = "artist_concat"
    dim: int = 100
    epochs: int = 30
    learning_rate: float = 0.003
    batch_size: int = 16384
    neighbours: int = 50
    neighbours_by: NeighboursBy = "concatenation"
    initial_scale: float = 0.001
    negatives: int = 0
    negatives_from: NegativesFrom = "anywhere"
    clusters: int = 50
    seed: int = 0
    engine: Engine = "inline"
    source: str = POSTGRES
    since: datetime | None = None
    until: datetime | None = None
    window_days: float | None = None
    held_out: float = 0.1
    warm_start: bool = False
    promote: Promote = "auto"


def report_nothing(stage: Stage, **fields: Any) -> None:
    """Ignore progress."""
