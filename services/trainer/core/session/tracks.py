"""What is believed of tracks, jointly with their artists."""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.trainer.core.session.beliefs import Beliefs, invert
from services.trainer.core.session.genres import Genres
from services.trainer.core.session.groups import Block
from services.trainer.core.session.likelihood import remove_own


@dataclass(frozen=True)
class Evidence:
    """What playbacks and sessions' starts tell of tracks, their artists aside.

    Attributes:
        design, weight, target: h = s i, precision and target of each playback's message.
        covariance: P per track with playbacks, given its artist, (n_played, d, d); by block.
        scale: P of the other tracks, times the identity, (n_tracks,); 0 for those with playbacks.
        mean: P times the tracks' own evidence, (n_tracks, d).
    """

    design: Tensor
    weight: Tensor
    target: Tensor
    covariance: list[Tensor]
    scale: Tensor
    mean: Tensor


def update_tracks(beliefs: Beliefs, genres: Genres) -> float:
    """Update artists, then tracks given artists; return the mean loss before.

    With P the covariance of a track given its artist and 1/x the prior's precision, a track tells
    its artist the precision 1/x - P / x^2 and the pull P r / x (Schur complement); then
    mean = P (r + A / x) and V = P + P V_A P / x^2.
    """
    weight, target, loss = beliefs.make_messages(beliefs.from_track)
    design = beliefs.interest_cavity * beliefs.slope[beliefs.user_of, None]
    evidence = _gather(beliefs, design=design, weight=weight, target=target)
    beliefs.artist_mean, artist_covariance = genres.update(*_tell_artists(beliefs, evidence))
    metric = _taste_metric(beliefs)
    _spread_to_unplayed(beliefs, evidence, covariance=artist_covariance, metric=metric)
    for block, given in zip(beliefs.track_blocks, evidence.covariance, strict=True):
        _update_block(
            beliefs,
            evidence,
            block,
            given=given,
            artist_covariance=artist_covariance,
            metric=metric,
        )
    beliefs.refresh_both()
    return loss


def _gather(beliefs: Beliefs, *, design: Tensor, weight: Tensor, target: Tensor) -> Evidence:
    precision, pull = _prior(beliefs)
    scale, eye, parts = 1 / precision, torch.eye(beliefs.dim), []
    mean = pull * scale[:, None]
    for block in beliefs.track_blocks:
        ids, h = block.ids, design[block.rows]
        weighted = h * (weight[block.rows] * block.mask)[..., None]
        given = invert(precision[ids, None, None] * eye + weighted.transpose(1, 2) @ h)
        push = pull[ids] + (target[block.rows][:, None] @ weighted)[:, 0]
        mean[ids] = (given @ push[..., None])[..., 0]
        scale[ids] = 0.0
        parts.append(given)
    return Evidence(design, weight, target, parts, scale, mean)


def _prior(beliefs: Beliefs) -> tuple[Tensor, Tensor]:
    """Return precision (times the identity) and pull of each track that are not its playbacks'.

    Sessions that it was first of pull it to c + mu i; one counts less the less is known of i.
    """
    follow, n, d = beliefs.prior.follow, beliefs.scale("first"), beliefs.dim
    trace = beliefs.interest_trace[beliefs.interest_of_session]
    weight = 1 / (1 + follow**2 * trace / (n * d))
    n_first = torch.zeros(beliefs.n_tracks).index_add_(0, beliefs.first, weight)
    expected = beliefs.first_centre + follow * beliefs.interest[beliefs.interest_of_session]
    message = expected * (weight / n)[:, None]
    pull = torch.zeros(beliefs.n_tracks, d).index_add_(0, beliefs.first, message)
    return 1 / beliefs.scale("track") + n_first / n, pull


def _tell_artists(beliefs: Beliefs, evidence: Evidence) -> tuple[Tensor, Tensor]:
    """Sum over an artist's tracks: precision (n_artists, d, d) and pull (n_artists, d)."""
    d, artist, eye = beliefs.dim, beliefs.artist, torch.eye(beliefs.dim)
    x = beliefs.scale("track")
    pull = torch.zeros(beliefs.n_artists, d).index_add_(0, artist, evidence.mean / x)
    own = torch.zeros(beliefs.n_artists).index_add_(0, artist, 1 / x - evidence.scale / x**2)
    precision = own[:, None, None] * eye
    for block, given in zip(beliefs.track_blocks, evidence.covariance, strict=True):
        precision.index_add_(0, artist[block.ids], given, alpha=-1 / x**2)
    return precision, pull


def _spread_to_unplayed(
    beliefs: Beliefs, evidence: Evidence, *, covariance: Tensor, metric: Tensor
) -> None:
    """Believe of tracks without playbacks what their artists tell; others follow by block."""
    ratio = evidence.scale / beliefs.scale("track")
    beliefs.track = evidence.mean + ratio[:, None] * beliefs.artist_mean[beliefs.artist]
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1)[beliefs.artist]
    spreads = (covariance * metric).sum((1, 2))[beliefs.artist]
    beliefs.track_trace = evidence.scale * beliefs.dim + ratio**2 * traces
    beliefs.track_variance = evidence.scale * metric.trace() + ratio**2 * spreads


def _update_block(
    beliefs: Beliefs,
    evidence: Evidence,
    block: Block,
    *,
    given: Tensor,
    artist_covariance: Tensor,
    metric: Tensor,
) -> None:
    ids, rows = block.ids, block.rows
    pull = beliefs.artist_mean[beliefs.artist[ids]] / beliefs.scale("track")
    mean = evidence.mean[ids] + (given @ pull[..., None])[..., 0]
    gain = given / beliefs.scale("track")
    covariance = given + gain @ artist_covariance[beliefs.artist[ids]] @ gain
    beliefs.track[ids] = mean
    beliefs.track_trace[ids] = covariance.diagonal(dim1=1, dim2=2).sum(1)
    beliefs.track_variance[ids] = (covariance * metric).sum((1, 2))
    cavity, variance = remove_own(
        covariance,
        mean,
        design=evidence.design[rows],
        weight=evidence.weight[rows] * block.mask,
        target=evidence.target[rows],
    )
    beliefs.track_cavity[block.flat] = cavity.flatten(0, 1)[block.filled]
    beliefs.from_track[block.flat] = variance.flatten()[block.filled]


def _taste_metric(beliefs: Beliefs) -> Tensor:
    """Return E[s^2] E[i i'], (d, d): turns a track's covariance into its logits' variance."""
    second = beliefs.interest.T @ beliefs.interest + beliefs.interest_sum
    metric: Tensor = second / beliefs.n_interests * beliefs.slope.pow(2).mean()
    return metric
