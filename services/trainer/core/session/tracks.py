"""What is believed of tracks, jointly with their artists."""

from dataclasses import dataclass

import torch
from torch import Tensor

from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.covariances import Covariances, make_covariances
from services.trainer.core.session.genres import Genres
from services.trainer.core.session.groups import Block
from services.trainer.core.session.likelihood import remove_own
from services.trainer.core.threads import run_side_by_side


@dataclass(frozen=True)
class Evidence:
    """What playbacks and sessions' starts tell of tracks, their artists aside.

    Attributes:
        weight, target: Precision and target of each playback's message along h = s i.
        covariance: P of the tracks with playbacks, given their artists, by block.
        scale: P of the other tracks, times the identity, (n_tracks,); 0 for those with playbacks.
        mean: P times the tracks' own evidence, (n_tracks, d).
    """

    weight: Tensor
    target: Tensor
    covariance: list[Covariances]
    scale: Tensor
    mean: Tensor


def update_tracks(beliefs: Beliefs, genres: Genres) -> float:
    """Update artists, then tracks given artists; return the mean loss before.

    With P the covariance of a track given its artist and 1/x the prior's precision, a track tells
    its artist the precision 1/x - P / x^2 and the pull P r / x (Schur complement); then
    mean = P (r + A / x) and V = P + P V_A P / x^2.
    """
    weight, target, loss = beliefs.make_messages(beliefs.from_track)
    evidence = _gather(beliefs, weight=weight, target=target)
    beliefs.artist_mean, artist_covariance = genres.update(*_tell_artists(beliefs, evidence))
    metric = _taste_metric(beliefs)
    _spread_to_unplayed(beliefs, evidence, covariance=artist_covariance, metric=metric)

    def update(part: tuple[Block, Covariances]) -> None:
        block, given = part
        _update_block(
            beliefs,
            evidence,
            block,
            given=given,
            artist_covariance=artist_covariance,
            metric=metric,
        )

    run_side_by_side(update, zip(beliefs.track_blocks, evidence.covariance, strict=True))
    beliefs.refresh_both()
    return loss


def _gather(beliefs: Beliefs, *, weight: Tensor, target: Tensor) -> Evidence:
    precision, pull = _prior(beliefs)
    scale = 1 / precision
    mean = pull * scale[:, None]

    def gather(block: Block) -> Covariances:
        ids, h = block.ids, beliefs.make_design(beliefs.interest_cavity, block.rows)
        w = weight[block.rows] * block.mask
        given = make_covariances(precision[ids], h, w)
        push = pull[ids] + ((w * target[block.rows])[:, None] @ h)[:, 0]
        mean[ids] = given.apply(push[:, None])[:, 0]
        scale[ids] = 0.0
        return given

    covariances = run_side_by_side(gather, beliefs.track_blocks)  # they have no row in common
    return Evidence(weight, target, covariances, scale, mean)


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
        precision.index_add_(0, artist[block.ids], given.dense(), alpha=-1 / x**2)
    return precision, pull


def _spread_to_unplayed(
    beliefs: Beliefs, evidence: Evidence, *, covariance: Tensor, metric: Tensor
) -> None:
    """Believe of tracks without playbacks what their artists tell; others follow by block."""
    ratio = evidence.scale / beliefs.scale("track")
    beliefs.track = evidence.mean + ratio[:, None] * beliefs.artist_mean[beliefs.artist]
    traces = covariance.diagonal(dim1=1, dim2=2).sum(1)[beliefs.artist]
    spreads = (covariance.flatten(1) @ metric.flatten())[beliefs.artist]
    beliefs.track_trace = evidence.scale * beliefs.dim + ratio**2 * traces
    beliefs.track_variance = evidence.scale * metric.trace() + ratio**2 * spreads


def _update_block(
    beliefs: Beliefs,
    evidence: Evidence,
    block: Block,
    *,
    given: Covariances,
    artist_covariance: Tensor,
    metric: Tensor,
) -> None:
    """With the artists' covariance N, V = P + P N P / x^2."""
    ids, x = block.ids, beliefs.scale("track")
    artist = beliefs.artist[ids]
    around = artist_covariance[artist] / x**2
    mean = evidence.mean[ids] + given.apply(beliefs.artist_mean[artist][:, None] / x)[:, 0]
    eye = torch.eye(beliefs.dim)
    beliefs.track[ids] = mean
    beliefs.track_trace[ids] = given.trace_with(eye) + given.trace_around(around, eye)
    beliefs.track_variance[ids] = given.trace_with(metric) + given.trace_around(around, metric)
    design = beliefs.make_design(beliefs.interest_cavity, block.rows)
    moved = given.apply(design)
    cavity, variance = remove_own(
        moved + given.apply(moved @ around),
        mean,
        design=design,
        weight=evidence.weight[block.rows] * block.mask,
        target=evidence.target[block.rows],
    )
    beliefs.track_cavity[block.flat] = cavity.flatten(0, 1)[block.filled]
    beliefs.from_track[block.flat] = variance.flatten()[block.filled]


def _taste_metric(beliefs: Beliefs) -> Tensor:
    """Return E[s^2] E[i i'], (d, d): turns a track's covariance into its logits' variance."""
    second = beliefs.interest.T @ beliefs.interest + beliefs.interest_sum
    metric: Tensor = second / beliefs.n_interests * beliefs.slope.pow(2).mean()
    return metric
