"""The training of the recipe `session`: a rough start, then rounds of belief propagation."""

from dataclasses import dataclass

import torch

from services.trainer.core.checkpoints import Checkpoints
from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import Report
from services.trainer.core.playbacks import IntArray
from services.trainer.core.session.anchors import derive_anchors
from services.trainer.core.session.beliefs import Beliefs, Prior
from services.trainer.core.session.checkpointing import restore, take_snapshot
from services.trainer.core.session.genres import Genres
from services.trainer.core.session.grouping import regroup_sessions
from services.trainer.core.session.interests import (
    group_sessions,
    start_interests,
    update_centres,
    update_interests,
)
from services.trainer.core.session.listeners import update_listeners
from services.trainer.core.session.plays import Plays
from services.trainer.core.session.start import Start, fit_start, no_start
from services.trainer.core.session.tracks import update_tracks
from services.trainer.core.workers import HERE, Workers


@dataclass(frozen=True)
class Plan:
    """What happens in which iteration, counted from 0.

    Attributes:
        n_iterations: In all.
        regroup_after: After these, sessions are grouped into interests anew.
        genres_from: From this one on, artists are a mixture of genres.
    """

    n_iterations: int
    regroup_after: tuple[int, ...]
    genres_from: int


# Grouping costs as much as an iteration, and the iteration after it only recovers from it.
COLD = Plan(n_iterations=8, regroup_after=(0, 1, 2, 3, 4), genres_from=2)
# Vectors that an earlier training found are no rough model: they group sessions well at once.
WARM = Plan(n_iterations=4, regroup_after=(0, 1), genres_from=1)
# A tenth more sessions, that the vectors do not know yet.
ABSORB = Plan(n_iterations=3, regroup_after=(0,), genres_from=1)


@torch.no_grad()
def fit_beliefs(
    plays: Plays,
    artist_rows: IntArray,
    *,
    dim: int,
    seed: int,
    report: Report,
    prior: Prior | None = None,
    plan: Plan = COLD,
    start: Start | None = None,
    checkpoints: Checkpoints | None = None,
    workers: Workers = HERE,
) -> Beliefs:
    """Fit all that is believed.

    Args:
        plays: To learn from.
        artist_rows: Artist per catalogue row.
        dim: Of the embeddings.
        seed: The same seed and plays give the same bits on one machine, with as many threads.
        report: Told the loss of every iteration: minus the mean log likelihood of a playback
            predicted from all the others, as its interest (`train`) and its track were updated.
        prior: Scales, if not the usual.
        plan: Of the iterations.
        start: Where to start from, if not from a rough model of these plays.
        checkpoints: Where to go on, if the same ran before; told of every iteration.
        workers: Who updates interests and groups sessions.

    Raises:
        TrainingError: If the beliefs leave the finite numbers.
    """
    prior = prior or Prior()
    snapshot = None if checkpoints is None else checkpoints.load()
    if start is None and snapshot is None:
        with torch.enable_grad():
            start = fit_start(plays, artist_rows, dim=dim, seed=seed, report=report)
    beliefs = Beliefs(plays, artist_rows, start or no_start(plays, artist_rows, dim=dim), prior)
    genres = Genres(
        dim=dim,
        variance=beliefs.scale("artist"),
        within=prior.within,
        n_genres=prior.n_genres,
        seed=seed,
    )
    if snapshot is None:
        first = beliefs.track[beliefs.first].numpy()
        beliefs.set_interests(group_sessions(plays.session_user, first))
        start_interests(beliefs)
        n_done = 0
    else:
        n_done = restore(beliefs, genres, snapshot)
        report("training", resumed_after=n_done)
    for iteration in range(n_done, plan.n_iterations):
        if checkpoints is not None:
            checkpoints.save(take_snapshot(beliefs, genres, n_done=iteration))
        loss, track_loss = _iterate(
            beliefs, genres, iteration=iteration, plan=plan, workers=workers
        )
        report("training", epoch=iteration + 1, train=loss, track_loss=track_loss)
    if checkpoints is not None:
        checkpoints.save(take_snapshot(beliefs, genres, n_done=plan.n_iterations))
    return beliefs


def _iterate(
    beliefs: Beliefs, genres: Genres, *, iteration: int, plan: Plan, workers: Workers
) -> tuple[float, float]:
    """Update everything once; return the losses before interests and before tracks."""
    genres.wants_mixture = iteration >= plan.genres_from
    loss = update_interests(beliefs, workers)
    update_listeners(beliefs)
    if iteration > 0:
        update_centres(beliefs)
    track_loss = update_tracks(beliefs, genres)
    _check_finite(beliefs)
    if iteration in plan.regroup_after:
        n_rounds = 2 if iteration == 0 else 1  # the first groups are of first tracks alone
        anchors = derive_anchors(beliefs)
        groups = regroup_sessions(beliefs, anchors, n_rounds=n_rounds, workers=workers)
        beliefs.set_interests(groups)
        start_interests(beliefs)
    return loss, track_loss


def _check_finite(beliefs: Beliefs) -> None:
    parts = (beliefs.track, beliefs.track_variance, beliefs.interest, beliefs.slope, beliefs.offset)
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise TrainingError("the beliefs diverged: is the log damaged?")
