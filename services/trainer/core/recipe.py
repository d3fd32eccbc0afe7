"""From a log to a model version's arrays and metrics: the steps of a training in order."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.evaluation import (
    evaluate_neighbours,
    evaluate_prediction,
    evaluate_spread,
)
from services.trainer.core.model import PairModel, known_anchors, known_tracks
from services.trainer.core.pairs import PairCounts, Pairs, make_pairs, split_by_time
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog
from services.trainer.core.popularity import rank_tracks
from services.trainer.core.retrieval import find_neighbours
from services.trainer.core.session.recipe import fit_session
from services.trainer.core.training import fit, predict
from services.trainer.core.warm_start import check_arrays
from shared.catalog import Catalog

AnyArray = npt.NDArray[Any]


@dataclass(frozen=True)
class Fitted:
    """What a training made.

    Attributes:
        arrays: Of the model version.
        metrics: Of the evaluation.
        n_sessions: Sessions that pairs come from.
        n_playbacks: Playbacks read.
        data_from, data_until: Times of the first and the last playback.
    """

    arrays: Mapping[str, AnyArray]
    metrics: dict[str, float]
    n_sessions: int
    n_playbacks: int
    data_from: datetime
    data_until: datetime


def fit_recipe(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Mapping[str, AnyArray] | None = None,
) -> Fitted:
    """Fit, evaluate and index the recipe that the parameters name.

    Args:
        log: To learn from.
        catalog: Of its tracks.
        parameters: Of the training.
        report: Told how far it is.
        warm: Arrays of an earlier version to start from: of the same recipe, dim and catalogue.

    Raises:
        TrainingError: If the log cannot be learnt from, or the training cannot start from `warm`.
    """
    if warm is not None:
        check_arrays(warm, parameters, n_tracks=len(catalog))
    report("pairing", playbacks=len(log), sessions=log.n_sessions)
    if parameters.recipe == "session":
        session = fit_session(log, catalog, parameters=parameters, report=report, warm=warm)
        return _finish(
            log,
            catalog,
            arrays=session.arrays,
            metrics=session.metrics,
            n_sessions=session.n_sessions,
        )
    pairs, counts = make_pairs(log, catalog)
    train, held_out = split_by_time(pairs)
    report("training", pairs=len(pairs), **asdict(counts))
    model, losses = fit(
        train, held_out, catalog.artist_rows, parameters=parameters, report=report, warm=warm
    )
    report("evaluating")
    metrics = evaluate_prediction(
        predict(model, held_out), held_out, train_mean=float(train.times.mean(dtype=np.float64))
    )
    metrics |= _count(pairs, counts)
    metrics |= {"epochs": float(len(losses)), "train_mse": losses[-1].train}
    report("neighbours")
    arrays, ranking = _index(model, train, held_out, catalog=catalog, parameters=parameters)
    n_sessions = len(np.unique(pairs.sessions))
    return _finish(log, catalog, arrays=arrays, metrics=metrics | ranking, n_sessions=n_sessions)


def _finish(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    arrays: dict[str, AnyArray],
    metrics: dict[str, float],
    n_sessions: int,
) -> Fitted:
    rows = catalog.rows_of(log.tracks)
    arrays["top_tracks"] = rank_tracks(rows, log.times, n_tracks=len(catalog))
    return Fitted(
        arrays=arrays,
        metrics=metrics,
        n_sessions=n_sessions,
        n_playbacks=len(log),
        data_from=_to_datetime(log.first_at),
        data_until=_to_datetime(log.last_at),
    )


def _index(
    model: PairModel,
    train: Pairs,
    held_out: Pairs,
    *,
    catalog: Catalog,
    parameters: TrainingParameters,
) -> tuple[dict[str, AnyArray], dict[str, float]]:
    """Find the neighbours by the full concatenation, and rate them."""
    candidates = known_tracks(train, len(catalog))
    context, target = model.context_embedding(), model.track_embedding()
    neighbours = find_neighbours(
        context,
        target,
        anchors=known_anchors(train, catalog.artist_rows, with_artists=model.with_artists),
        candidates=candidates,
        k=parameters.neighbours,
    )
    metrics = evaluate_neighbours(neighbours, held_out)
    plays = np.bincount(train.tracks, minlength=len(catalog))
    metrics |= evaluate_spread(neighbours, plays, candidates=candidates)
    arrays = {"neighbours": neighbours, "context_embedding": context, "track_embedding": target}
    return arrays, metrics


def _count(pairs: Pairs, counts: PairCounts) -> dict[str, float]:
    return {
        "n_pairs": float(len(pairs)),
        "n_unknown_playbacks": float(counts.unknown),
        "n_headless_playbacks": float(counts.headless),
    }


def _to_datetime(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
