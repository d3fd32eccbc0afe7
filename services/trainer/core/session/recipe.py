"""The recipe `session`, from a log to a model version's arrays and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.evaluation import evaluate_spread
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog
from services.trainer.core.retrieval import find_neighbours
from services.trainer.core.session.export import export_arrays, measure_beliefs
from services.trainer.core.session.fitting import fit_beliefs
from services.trainer.core.session.plays import prepare_plays
from services.trainer.core.session.start import continue_from
from shared.catalog import Catalog


@dataclass(frozen=True)
class FittedSession:
    """Arrays and metrics of a model version, and the sessions that they come from."""

    arrays: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    n_sessions: int


def fit_session(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Mapping[str, npt.NDArray[Any]] | None = None,
) -> FittedSession:
    """Fit beliefs to the whole log, and measure them by leaving out each playback in turn.

    Neighbours of a track are those that the mean interest of a session it starts likes best.

    Raises:
        TrainingError: If the log cannot be learnt from.
    """
    plays = prepare_plays(log, catalog)
    report("training", plays=len(plays), gamma=plays.gamma)
    beliefs = fit_beliefs(
        plays,
        catalog.artist_rows,
        dim=parameters.dim,
        seed=parameters.seed,
        report=report,
        start=None if warm is None else continue_from(warm, plays),
    )
    report("evaluating")
    metrics = measure_beliefs(beliefs) | {"n_plays": float(len(plays))}
    arrays = export_arrays(beliefs)
    report("neighbours")
    count = np.bincount(plays.track, minlength=len(catalog))
    arrays["neighbours"] = find_neighbours(
        arrays["context_embedding"],
        arrays["track_embedding"],
        anchors=np.ones(len(catalog), dtype=np.bool_),
        candidates=count > 0,
        k=parameters.neighbours,
    )
    metrics |= evaluate_spread(arrays["neighbours"], count, candidates=count > 0)
    return FittedSession(arrays, metrics, len(plays.first))
