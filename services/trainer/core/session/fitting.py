"""The training of the recipe `session`: a rough start, then rounds of belief propagation."""

import torch

from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import Report
from services.trainer.core.playbacks import IntArray
from services.trainer.core.session.beliefs import Beliefs, Prior
from services.trainer.core.session.genres import Genres
from services.trainer.core.session.interests import (
    group_sessions,
    start_interests,
    update_centres,
    update_interests,
)
from services.trainer.core.session.listeners import update_listeners
from services.trainer.core.session.plays import Plays
from services.trainer.core.session.start import fit_start
from services.trainer.core.session.tracks import update_tracks

N_ITERATIONS = 6
REGROUP_AFTER = (1, 3)
GENRES_FROM = 2


@torch.no_grad()
def fit_beliefs(
    plays: Plays,
    artist_rows: IntArray,
    *,
    dim: int,
    seed: int,
    report: Report,
    prior: Prior | None = None,
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

    Raises:
        TrainingError: If the beliefs leave the finite numbers.
    """
    prior = prior or Prior()
    with torch.enable_grad():
        start = fit_start(plays, artist_rows, dim=dim, seed=seed, report=report)
    beliefs = Beliefs(plays, artist_rows, start, prior)
    genres = Genres(
        dim=dim,
        variance=beliefs.scale("artist"),
        within=prior.within,
        n_genres=prior.n_genres,
        seed=seed,
    )
    _group(beliefs)
    for iteration in range(N_ITERATIONS):
        loss, track_loss = _iterate(beliefs, genres, iteration)
        report("training", epoch=iteration + 1, train=loss, track_loss=track_loss)
    return beliefs


def _iterate(beliefs: Beliefs, genres: Genres, iteration: int) -> tuple[float, float]:
    """Update everything once; return the losses before interests and before tracks."""
    genres.wants_mixture = iteration >= GENRES_FROM
    loss = update_interests(beliefs)
    update_listeners(beliefs)
    if iteration > 0:
        update_centres(beliefs)
    track_loss = update_tracks(beliefs, genres)
    _check_finite(beliefs)
    if iteration in REGROUP_AFTER:
        _group(beliefs)
    return loss, track_loss


def _group(beliefs: Beliefs) -> None:
    first = beliefs.track[beliefs.first].numpy()
    beliefs.set_interests(group_sessions(beliefs.plays.session_user, first))
    start_interests(beliefs)


def _check_finite(beliefs: Beliefs) -> None:
    parts = (beliefs.track, beliefs.track_variance, beliefs.interest, beliefs.slope, beliefs.offset)
    if not all(bool(torch.isfinite(part).all()) for part in parts):
        raise TrainingError("the beliefs diverged: is the log damaged?")
