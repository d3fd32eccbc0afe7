"""The recipe `session`, from a log to a model version's arrays and metrics."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.checkpoints import Checkpoints
from services.trainer.core.held_out import collect_plays, find_cut
from services.trainer.core.judgement import Judgement, judge
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog
from services.trainer.core.retrieval import find_neighbours
from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.export import export_arrays, measure_beliefs
from services.trainer.core.session.fitting import ABSORB, COLD, WARM, Plan, fit_beliefs
from services.trainer.core.session.plays import prepare_plays
from services.trainer.core.session.start import continue_from
from services.trainer.core.spread import evaluate_diversity, evaluate_spread
from services.trainer.core.workers import HERE, Workers
from shared.catalog import Catalog

Arrays = Mapping[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class FittedSession:
    """Arrays and metrics of a model version, and the sessions that they come from.

    Attributes:
        judgement: By later sessions, of the beliefs before they took these in; None if none were
            held out.
    """

    arrays: dict[str, npt.NDArray[Any]]
    metrics: dict[str, float]
    judgement: Judgement | None
    n_sessions: int


def fit_session(
    log: PlaybackLog,
    catalog: Catalog,
    *,
    parameters: TrainingParameters,
    report: Report,
    checkpoints: Checkpoints,
    warm: Arrays | None = None,
    workers: Workers = HERE,
) -> FittedSession:
    """Fit beliefs to the earlier sessions, judge them by the later ones, then take those in.

    Neighbours of a track are those that the mean interest of a session it starts likes best. In the
    end each playback is also predicted from all the others (`leave_one_out_*`).

    Raises:
        TrainingError: If the log cannot be learnt from.
    """
    prepare_plays(log, catalog)  # its complaints are about the whole log
    plan = COLD if warm is None else WARM
    fitting = _Fitting(catalog, parameters, report, workers)
    judgement = None
    if parameters.held_out > 0:
        held_out = collect_plays(log, catalog)
        cut = find_cut(held_out.sessions, held_out=parameters.held_out, n_least=1)
        beliefs = fitting.fit(log.before(cut), plan, warm=warm, checkpoints=checkpoints)
        report("evaluating")
        later = held_out.since(cut)
        arrays = export_arrays(beliefs)
        shown = fitting.find_neighbours(arrays, beliefs, anchors=later.anchors)
        mean = float(held_out.times[: len(held_out) - len(later)].mean(dtype=np.float64))
        judgement = judge(arrays | {"neighbours": shown}, later, train_mean=mean)
        del beliefs
        beliefs = fitting.fit(log, ABSORB, warm=arrays, n_before=plan.n_iterations)
    else:
        beliefs = fitting.fit(log, plan, warm=warm, checkpoints=checkpoints)
    return fitting.finish(beliefs, judgement)


@dataclass(frozen=True)
class _Fitting:
    """The steps, with what they have in common."""

    catalog: Catalog
    parameters: TrainingParameters
    report: Report
    workers: Workers

    def fit(
        self,
        log: PlaybackLog,
        plan: Plan,
        *,
        warm: Arrays | None,
        checkpoints: Checkpoints | None = None,
        n_before: int = 0,
    ) -> Beliefs:
        """Fit beliefs to a log; iterations are counted on from `n_before`."""

        def report(stage: str, **fields: Any) -> None:
            if "epoch" in fields:
                fields["epoch"] += n_before
            self.report(stage, **fields)

        plays = prepare_plays(log, self.catalog)
        report("training", plays=len(plays), gamma=plays.gamma)
        return fit_beliefs(
            plays,
            self.catalog.artist_rows,
            dim=self.parameters.dim,
            seed=self.parameters.seed,
            report=report,
            plan=plan,
            start=None if warm is None else continue_from(warm, plays),
            checkpoints=checkpoints,
            workers=self.workers,
        )

    def find_neighbours(
        self, arrays: Arrays, beliefs: Beliefs, *, anchors: npt.NDArray[np.integer] | None = None
    ) -> npt.NDArray[np.int32]:
        """Find neighbours among the tracks that were played, of all rows or of some."""
        wanted = np.zeros(len(self.catalog), dtype=np.bool_)
        wanted[slice(None) if anchors is None else anchors] = True
        return find_neighbours(
            arrays["context_embedding"],
            arrays["track_embedding"],
            anchors=wanted,
            candidates=self.count_plays(beliefs) > 0,
            k=self.parameters.neighbours,
            workers=self.workers,
        )

    def count_plays(self, beliefs: Beliefs) -> npt.NDArray[np.int64]:
        """Count the plays of each track."""
        return np.bincount(beliefs.plays.track, minlength=len(self.catalog))

    def finish(self, beliefs: Beliefs, judgement: Judgement | None) -> FittedSession:
        """Turn beliefs into a version's arrays and metrics."""
        self.report("evaluating")
        metrics = measure_beliefs(beliefs) | {"n_plays": float(len(beliefs.plays))}
        arrays = export_arrays(beliefs)
        self.report("neighbours")
        neighbours = arrays["neighbours"] = self.find_neighbours(arrays, beliefs)
        count = self.count_plays(beliefs)
        metrics |= evaluate_spread(neighbours, count, candidates=count > 0)
        embedding = arrays["track_embedding"]
        metrics |= evaluate_diversity(neighbours, self.catalog.artist_rows, embedding)
        metrics |= {} if judgement is None else judgement.metrics
        return FittedSession(arrays, metrics, judgement, len(beliefs.plays.first))
