"""Which sessions share an interest, and what is believed of each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.playbacks import FloatArray
from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.covariances import make_covariances
from services.trainer.core.session.groups import Block
from services.trainer.core.session.likelihood import remove_own
from services.trainer.core.session.plays import Index
from services.trainer.core.workers import HERE, Workers

MAX_INTERESTS = 3  # of a user
MIN_COSINE = 0.3  # to the sum of a group, to join it
N_ROUNDS = 3
TINY = 1e-9


def group_sessions(session_user: Index, first: FloatArray) -> Index:
    """Group each user's sessions by their first tracks, greedily, some rounds over.

    Embeddings are centred and their principal axes divided by the fourth root of their variances:
    halfway to white. A session joins the group with the nearest sum, or opens one.

    Args:
        session_user: User per session, (n_sessions,).
        first: Embedding of each session's first track, (n_sessions, d).

    Returns:
        Number of each session's group, all from 0 without a gap, (n_sessions,).
    """
    direction = _whiten(first)
    order = np.argsort(session_user, kind="stable")
    user = session_user[order]
    begin = np.flatnonzero(np.diff(user, prepend=-1))
    nth = np.arange(len(user)) - np.repeat(begin, np.diff(np.append(begin, len(user))))
    by_turn = np.argsort(nth, kind="stable")
    turns = np.split(by_turn, np.cumsum(np.bincount(nth))[:-1])
    total = np.zeros((int(user.max()) + 1, MAX_INTERESTS, first.shape[1]), dtype=np.float32)
    label = np.full(len(user), -1)
    for _ in range(N_ROUNDS):
        for rows in turns:
            who, vector = user[rows], direction[order[rows]]
            again = label[rows] >= 0
            total[who[again], label[rows[again]]] -= vector[again]
            label[rows] = _choose_group(total[who], vector)
            total[who, label[rows]] += vector
    key = np.empty(len(user), dtype=np.int64)
    key[order] = user * MAX_INTERESTS + label
    dense: Index = np.unique(key, return_inverse=True)[1]
    return dense


def start_interests(beliefs: Beliefs) -> None:
    """Believe of interests what first tracks alone tell."""
    precision, pull = _prior(beliefs)
    beliefs.interest = pull / precision[:, None]
    beliefs.interest_diagonal = (1 / precision)[:, None].expand(-1, beliefs.dim).contiguous()
    beliefs.interest_sum = torch.eye(beliefs.dim) * (1 / precision).sum()
    beliefs.interest_cavity = beliefs.interest[beliefs.interest_of]
    norms = (beliefs.track_cavity**2).sum(1) * beliefs.slope[beliefs.user_of] ** 2
    beliefs.from_interest = norms / precision[beliefs.interest_of]


@dataclass(frozen=True)
class Evidence:
    """What every interest's update reads.

    Attributes:
        precision, pull: Of the prior and first tracks, per interest, (n_interests,) and
            (n_interests, d).
        weight, target: Of the playbacks' messages, (n_plays,).
        track_cavity: Track of each playback, without it, (n_plays, d).
        slope: Of its listener, (n_plays,).
    """

    precision: Tensor
    pull: Tensor
    weight: Tensor
    target: Tensor
    track_cavity: Tensor
    slope: Tensor


@dataclass(frozen=True)
class Updated:
    """A block of interests after its update.

    Attributes:
        mean, diagonal: Of their posteriors, (b, d).
        total: Sum of their covariances, less what it was by the prior and first tracks, (d, d).
        cavity, variance: Of their playbacks in the block's order, (m, d) and (m,).
    """

    mean: Tensor
    diagonal: Tensor
    total: Tensor
    cavity: Tensor
    variance: Tensor


def update_interests(beliefs: Beliefs, workers: Workers = HERE) -> float:
    """Update every interest from its playbacks and first tracks; return the mean loss before.

    With h = s e: precision = prior + sum w h h', mean = covariance (pull + sum w h target).
    """
    weight, target, loss = beliefs.make_messages(beliefs.from_interest)
    precision, pull = _prior(beliefs)
    slope = beliefs.slope[beliefs.user_of]
    evidence = Evidence(precision, pull, weight, target, beliefs.track_cavity, slope)
    mean, eye = pull / precision[:, None], torch.eye(beliefs.dim)
    diagonal = (1 / precision)[:, None].repeat(1, beliefs.dim)
    total = eye * (1 / precision).sum()
    updates = workers.map(update_block, evidence, beliefs.interest_blocks, in_threads=True)
    for block, updated in zip(beliefs.interest_blocks, updates, strict=True):
        mean[block.ids], diagonal[block.ids] = updated.mean, updated.diagonal
        total += updated.total
        beliefs.interest_cavity[block.flat] = updated.cavity
        beliefs.from_interest[block.flat] = updated.variance
    beliefs.interest, beliefs.interest_diagonal, beliefs.interest_sum = mean, diagonal, total
    beliefs.refresh_both()
    return loss


def update_block(evidence: Evidence, block: Block) -> Updated:
    """Update the interests of a block; they depend on no other."""
    target, precision = evidence.target[block.rows], evidence.precision[block.ids]
    h = evidence.track_cavity[block.rows] * evidence.slope[block.rows][..., None]
    weight = evidence.weight[block.rows] * block.mask
    covariance = make_covariances(precision, h, weight)
    push = evidence.pull[block.ids] + ((weight * target)[:, None] @ h)[:, 0]
    mean = covariance.apply(push[:, None])[:, 0]
    cavity, variance = remove_own(covariance.apply(h), mean, design=h, weight=weight, target=target)
    return Updated(
        mean=mean,
        diagonal=covariance.diagonal(),
        total=covariance.total() - torch.eye(h.shape[2]) * (1 / precision).sum(),
        cavity=cavity.flatten(0, 1)[block.filled],
        variance=variance.flatten()[block.filled],
    )


def update_centres(beliefs: Beliefs) -> None:
    """Update where interests, and first tracks given interests, lie on average: m and c."""
    beliefs.interest_centre = beliefs.interest.mean(0)
    of_session = beliefs.interest[beliefs.interest_of_session].mean(0)
    first = beliefs.track[beliefs.first].mean(0)
    beliefs.first_centre = first - beliefs.prior.follow * of_session


def _prior(beliefs: Beliefs) -> tuple[Tensor, Tensor]:
    """Return precision (times the identity) and pull of the prior and first tracks, per interest.

    First tracks count in full, however little is known of them: grouping, start and messages hang
    on them, and weighing them down by their uncertainty made the embeddings worse.
    """
    follow, n, y = beliefs.prior.follow, beliefs.scale("first"), beliefs.scale("interest")
    of_session, count = beliefs.interest_of_session, beliefs.n_interests
    n_first = torch.bincount(of_session, minlength=count)
    message = (beliefs.track[beliefs.first] - beliefs.first_centre) * (follow / n)
    pull = (beliefs.interest_centre / y).repeat(count, 1).index_add_(0, of_session, message)
    return 1 / y + n_first * follow**2 / n, pull


def _whiten(first: FloatArray) -> FloatArray:
    centred = first - first.mean(0)
    variance, basis = np.linalg.eigh(centred.T @ centred / len(centred))
    scale = np.maximum(variance, TINY) ** 0.25
    return _normalise(centred @ basis / scale)


def _choose_group(total: FloatArray, vector: FloatArray) -> Index:
    """Choose the group of one session each of some users.

    Args:
        total: Sums of the users' groups, (n, MAX_INTERESTS, d).
        vector: Of the sessions, (n, d).
    """
    is_used = np.abs(total).sum(2) > 1e-4
    cosine = np.einsum("ngd,nd->ng", _normalise(total), vector)
    cosine = np.where(is_used, cosine, -2.0)
    opens = (cosine.max(1) < MIN_COSINE) & ~is_used.all(1)
    chosen: Index = np.where(opens, (~is_used).argmax(1), cosine.argmax(1))
    return chosen


def _normalise(vectors: FloatArray) -> FloatArray:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: FloatArray = (vectors / np.maximum(norm, TINY)).astype(np.float32)
    return unit
