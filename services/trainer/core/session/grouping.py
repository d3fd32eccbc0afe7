"""Which sessions of a user share an interest, by the evidence of first tracks and playbacks.

A session tells of its interest its first track's message, with the prior N(m, y I) divided out, and
those of its playbacks; `settling` places it by them. Nine in ten sessions are surer of their group
than a change of the vectors is likely to undo: they are not asked again for some time.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.session.anchors import Anchors
from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.groups import make_blocks
from services.trainer.core.session.interests import MAX_INTERESTS
from services.trainer.core.session.plays import BoolArray, Index
from services.trainer.core.session.settling import Groups, Told
from services.trainer.core.workers import HERE, Workers

SURE = 8.0  # natural logarithms of evidence by which a group is better than any other
FORGETTING = 0.5  # of what an unasked session was sure by, per call
N_USERS = 400  # at a time: their sessions' precisions are some tens of megabytes


@dataclass(frozen=True)
class Log:
    """What the sessions of all users are told by.

    Attributes:
        around, interest: Variances w and y of a coordinate.
        centre: m, (d,).
        anchor: Expected interest of each session, by its first track, (n_sessions, d).
        session_user: User of each session, (n_sessions,).
        before: Label of each session's group among its user's, 0 to 2, (n_sessions,).
        is_asked: Whether each is placed anew, (n_sessions,).
        session: Of each playback, (n_plays,).
        weight, target: Of the playbacks' messages, (n_plays,).
        track_cavity: Track of each playback, without it, (n_plays, d).
        slope: Of its listener, (n_plays,).
        n_rounds: How often each session is placed.
    """

    around: float
    interest: float
    centre: Tensor
    anchor: Tensor
    session_user: Index
    before: Index
    is_asked: BoolArray
    session: Index
    weight: Tensor
    target: Tensor
    track_cavity: Tensor
    slope: Tensor
    n_rounds: int


def regroup_sessions(
    beliefs: Beliefs, anchors: Anchors, *, n_rounds: int = 1, workers: Workers = HERE
) -> Index:
    """Group each user's sessions anew, from the groups that there are, some rounds over.

    Sessions that `beliefs.margin` says are sure stay where they are; the others' margins are set.

    Returns:
        Number of each session's group, all from 0 without a gap, (n_sessions,).
    """
    weight, target, _ = beliefs.make_messages(beliefs.from_interest)
    user = beliefs.plays.session_user
    is_asked = beliefs.margin.numpy() < SURE
    log = Log(
        around=beliefs.scale("around"),
        interest=beliefs.scale("interest"),
        centre=beliefs.interest_centre,
        anchor=anchors.mean[beliefs.first],
        session_user=user,
        before=_number_within_users(beliefs),
        is_asked=is_asked,
        session=beliefs.plays.session,
        weight=weight,
        target=target,
        track_cavity=beliefs.track_cavity,
        slope=beliefs.slope[beliefs.user_of],
        n_rounds=n_rounds,
    )
    label = np.zeros(len(user), dtype=np.int64)
    beliefs.margin = beliefs.margin * FORGETTING
    parts = list(_split_by_users(beliefs))  # they have no session in common
    settled = workers.map(settle_users, log, parts, in_threads=True)
    for (sessions, _), (labels, margins) in zip(parts, settled, strict=True):
        label[sessions] = labels
        asked = torch.from_numpy(sessions[is_asked[sessions]])
        beliefs.margin[asked] = margins
    dense: Index = np.unique(user * MAX_INTERESTS + label, return_inverse=True)[1]
    return dense


def settle_users(log: Log, part: tuple[Index, Index]) -> tuple[Index, Tensor]:
    """Group the sessions of some users, given the rows of all their sessions and playbacks.

    Returns:
        As `Groups.settle`.
    """
    sessions, plays = part
    groups = Groups(log.centre, variance=log.interest, n_users=N_USERS)
    return groups.settle(
        _gather(log, sessions, plays),
        log.session_user[sessions] % N_USERS,
        log.before[sessions],
        log.is_asked[sessions],
        n_rounds=log.n_rounds,
    )


def _number_within_users(beliefs: Beliefs) -> Index:
    """Number each session's group among those of its user, whose numbers follow one another."""
    group, user = beliefs.interest_of_session.numpy(), beliefs.plays.session_user
    least = np.full(beliefs.plays.n_users, beliefs.n_interests)
    np.minimum.at(least, user, group)
    label: Index = group - least[user]
    return label


def _split_by_users(beliefs: Beliefs) -> Iterator[tuple[Index, Index]]:
    """Cut sessions and playbacks by their users; yield the rows of each part."""
    session_user, play_user = beliefs.plays.session_user, beliefs.plays.user
    by_session = np.argsort(session_user, kind="stable")
    by_play = np.argsort(play_user, kind="stable")
    edges = np.arange(N_USERS, beliefs.plays.n_users, N_USERS)
    sessions = np.split(by_session, np.searchsorted(session_user[by_session], edges))
    plays = np.split(by_play, np.searchsorted(play_user[by_play], edges))
    yield from zip(sessions, plays, strict=True)


def _gather(log: Log, sessions: Index, plays: Index) -> Told:
    """Gather what sessions tell, given the rows of all their playbacks."""
    w, y, d = log.around, log.interest, len(log.centre)
    pull = log.anchor[torch.from_numpy(sessions)] / w - log.centre / y
    precision = ((1 / w - 1 / y) * torch.eye(d)).repeat(len(sessions), 1, 1)
    place = np.zeros(len(log.session_user), dtype=np.int64)
    place[sessions] = np.arange(len(sessions))
    for block in make_blocks(place[log.session[plays]], len(sessions)):
        rows = torch.from_numpy(plays)[block.rows]
        h = log.track_cavity[rows] * log.slope[rows][..., None]
        own = log.weight[rows] * block.mask
        precision[block.ids] += (h * own[..., None]).transpose(1, 2) @ h
        pull[block.ids] += ((own * log.target[rows])[:, None] @ h)[:, 0]
    return Told(precision, pull)
