"""From a log to a model version's arrays and metrics: the steps of a training in order."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.checkpoints import (
    Checkpoints,
    CheckpointStore,
    NoCheckpoints,
    take_fingerprint,
)
from services.trainer.core.enrichment import enrich
from services.trainer.core.evaluation import evaluate_popularity
from services.trainer.core.held_out import HeldOut, collect_plays, find_cut
from services.trainer.core.judgement import Judgement, judge
from services.trainer.core.model import PairModel, known_anchors, known_tracks
from services.trainer.core.pairs import PairCounts, Pairs, make_pairs
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog
from services.trainer.core.popularity import rank_tracks
from services.trainer.core.retrieval import find_neighbours
from services.trainer.core.session.recipe import fit_session
from services.trainer.core.spread import evaluate_diversity, evaluate_spread
from services.trainer.core.training import fit
from services.trainer.core.warm_start import check_arrays
from services.trainer.core.workers import HERE, Workers
from shared.catalog import Catalog

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class Fitted:
    """What a training made.

    Attributes:
        arrays: Of the model version.
        metrics: Of the evaluation.
        judgement: On later sessions; None if none were held out.
        n_sessions: Sessions that it learnt from.
        n_playbacks: Playbacks read.
        data_from, data_until: Times of the first and the last playback.
        judged_from: Start of the first session that it was judged on, if any.
        learnt_until: Start of the first session that it did not learn from; None if it did from
            all.
    """

    arrays: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    judgement: Judgement | None
    n_sessions: int
    n_playbacks: int
    data_from: datetime
    data_until: datetime
    judged_from: datetime | None
    learnt_until: datetime | None


@dataclass(frozen=True)
class _Outcome:
    """What a recipe made; `learnt_before` is the first session that it did not learn from."""

    arrays: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    judgement: Judgement | None
    n_sessions: int
    learnt_before: int | None


def fit_recipe(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Arrays | None = None,
    checkpoints: CheckpointStore | None = None,
    workers: Workers = HERE,
) -> Fitted:
    """Fit, evaluate and index the recipe that the parameters name.

    Args:
        log: To learn from.
        catalog: Of its tracks.
        parameters: Of the training.
        report: Told how far it is.
        warm: Arrays of an earlier version to start from: of the same recipe, dim and catalogue.
        checkpoints: Where to go on, if the same training ran before.
        workers: Who does what can be done in parts.

    Raises:
        TrainingError: If the log cannot be learnt from, or the training cannot start from `warm`.
    """
    if warm is not None:
        check_arrays(warm, parameters, n_tracks=len(catalog))
    report("pairing", playbacks=len(log), sessions=log.n_sessions)
    fingerprint = take_fingerprint(
        log, catalog_checksum=catalog.checksum, parameters=parameters, warm=warm
    )
    points = Checkpoints(checkpoints or NoCheckpoints(), fingerprint)
    fit_one = _fit_session if parameters.recipe == "session" else _fit_pairs
    outcome = fit_one(
        log,
        catalog,
        parameters=parameters,
        report=report,
        warm=warm,
        checkpoints=points,
        workers=workers,
    )
    return _finish(log, catalog, outcome, k=parameters.neighbours)


def _fit_session(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Arrays | None,
    checkpoints: Checkpoints,
    workers: Workers,
) -> _Outcome:
    fitted = fit_session(
        log,
        catalog,
        parameters=parameters,
        report=report,
        warm=warm,
        checkpoints=checkpoints,
        workers=workers,
    )
    return _Outcome(fitted.arrays, fitted.metrics, fitted.judgement, fitted.n_sessions, None)


def _fit_pairs(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Arrays | None,
    checkpoints: Checkpoints,
    workers: Workers,
) -> _Outcome:
    """Fit the earlier sessions, choose the epoch on later ones, judge on the latest."""
    pairs, counts = make_pairs(log, catalog)
    plays = collect_plays(log, catalog)
    share = parameters.held_out
    cut = find_cut(plays.sessions, held_out=share, n_least=2)
    latest = find_cut(plays.sessions, held_out=share / 2, n_least=1)
    train, validation = pairs.between(0, cut), pairs.between(cut, latest)
    report("training", pairs=len(pairs), **asdict(counts))
    enriched = enrich(
        train, validation, catalog.artist_rows, parameters=parameters, report=report, warm=warm
    )
    training = fit(
        enriched,
        validation,
        catalog.artist_rows,
        parameters=parameters,
        report=report,
        warm=warm,
        checkpoints=checkpoints,
    )
    report("neighbours")
    arrays, spread = _index(
        training.model, train, catalog, parameters=parameters, warm=warm, workers=workers
    )
    report("evaluating")
    mean = float(train.times.mean(dtype=np.float64))
    judgement = judge(arrays, plays.since(latest), train_mean=mean)
    at_best = training.losses[max(training.best_epoch, 1) - 1]
    metrics = judgement.metrics | spread | _count(pairs, counts)
    metrics |= {
        "epochs": float(len(training.losses)),
        "best_epoch": float(training.best_epoch),
        "train_mse": at_best.train,
        "validation_mse": training.best_loss,
    }
    return _Outcome(arrays, metrics, judgement, len(np.unique(train.sessions)), cut)


def _index(
    model: PairModel,
    train: Pairs,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    warm: Arrays | None,
    workers: Workers,
) -> tuple[dict[str, npt.NDArray[Any]], dict[str, float]]:
    """Find the neighbours, by what the parameters say, and measure their spread."""
    context, target = model.context_embedding(), model.track_embedding()
    by_artists = model.with_artists and parameters.neighbours_by == "concatenation"
    width = context.shape[1] if by_artists else parameters.dim
    anchors = known_anchors(train, catalog.artist_rows, with_artists=by_artists)
    candidates = known_tracks(train, len(catalog))
    if warm is not None:
        anchors |= (warm["context_embedding"][:, :width] != 0).any(axis=1)
        candidates |= (warm["track_embedding"][:, : parameters.dim] != 0).any(axis=1)
    # What negatives alone taught of a track would make it a candidate of a later, warm training.
    target[~candidates, : parameters.dim] = 0.0
    neighbours = find_neighbours(
        context[:, :width],
        target[:, :width],
        anchors=anchors,
        candidates=candidates,
        k=parameters.neighbours,
        workers=workers,
    )
    plays = np.bincount(train.tracks, minlength=len(catalog))
    spread = evaluate_spread(neighbours, plays, candidates=candidates)
    spread |= evaluate_diversity(neighbours, catalog.artist_rows, target)
    arrays = {"neighbours": neighbours, "context_embedding": context, "track_embedding": target}
    return arrays, spread


def _finish(log: PlaybackLog, catalog: Catalog, outcome: _Outcome, *, k: int) -> Fitted:
    """Add the most listened tracks, and the figures that they reach."""
    rows = catalog.rows_of(log.tracks)
    n_tracks, cut = len(catalog), outcome.learnt_before
    metrics, judged_from = dict(outcome.metrics), None
    if outcome.judgement is not None:
        held_out: HeldOut = outcome.judgement.held_out
        first = int(held_out.sessions[0])
        judged_from, earlier = _to_datetime(log.start_of(first)), log.sessions < first
        top = rank_tracks(rows[earlier], log.times[earlier], n_tracks=n_tracks)
        metrics |= evaluate_popularity(top, held_out, k=k)
        metrics |= {
            "n_held_out_plays": float(len(held_out)),
            "n_held_out_sessions": float(held_out.n_sessions),
        }
    top_tracks = rank_tracks(rows, log.times, n_tracks=n_tracks)
    return Fitted(
        arrays=outcome.arrays | {"top_tracks": top_tracks},
        metrics=metrics,
        judgement=outcome.judgement,
        n_sessions=outcome.n_sessions,
        n_playbacks=len(log),
        data_from=_to_datetime(int(log.at.min())),
        data_until=_to_datetime(int(log.at.max())),
        judged_from=judged_from,
        learnt_until=None if cut is None else _to_datetime(log.start_of(cut)),
    )


def _count(pairs: Pairs, counts: PairCounts) -> dict[str, float]:
    return {
        "n_pairs": float(len(pairs)),
        "n_unknown_playbacks": float(counts.unknown),
        "n_headless_playbacks": float(counts.headless),
    }


def _to_datetime(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1e6, UTC)
