"""Which sessions of a user share an interest, by the evidence of first tracks and playbacks.

A session tells of its interest a precision L_s and a pull p_s: its first track's message, with the
prior N(m, y I) divided out, and those of its playbacks. A group of sessions has the evidence

    log Z(L, p) = (p' L^-1 p - log |L|) / 2,   L = I / y + sum L_s,   p = m / y + sum p_s

and a session joins the group whose evidence it raises most, all others held.

Source: Neal (2000), algorithm 3, with the best choice instead of a drawn one.
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
from services.trainer.core.session.plays import Index
from services.trainer.core.workers import HERE, Workers

N_USERS = 400  # at a time: their sessions' precisions are some tens of megabytes


@dataclass(frozen=True)
class Told:
    """What sessions tell of their interests: precision (n, d, d) and pull (n, d)."""

    precision: Tensor
    pull: Tensor

    def take(self, rows: Tensor) -> "Told":
        """Return some sessions'."""
        return Told(self.precision[rows], self.pull[rows])


@dataclass(frozen=True)
class Log:
    """What the sessions of all users are told by.

    Attributes:
        around, interest: Variances w and y of a coordinate.
        centre: m, (d,).
        anchor: Expected interest of each session, by its first track, (n_sessions, d).
        session_user: User of each session, (n_sessions,).
        before: Label of each session's group among its user's, 0 to 2, (n_sessions,).
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

    Returns:
        Number of each session's group, all from 0 without a gap, (n_sessions,).
    """
    weight, target, _ = beliefs.make_messages(beliefs.from_interest)
    user = beliefs.plays.session_user
    log = Log(
        around=beliefs.scale("around"),
        interest=beliefs.scale("interest"),
        centre=beliefs.interest_centre,
        anchor=anchors.mean[beliefs.first],
        session_user=user,
        before=_number_within_users(beliefs),
        session=beliefs.plays.session,
        weight=weight,
        target=target,
        track_cavity=beliefs.track_cavity,
        slope=beliefs.slope[beliefs.user_of],
        n_rounds=n_rounds,
    )
    label = np.zeros(len(user), dtype=np.int64)
    parts = list(_split_by_users(beliefs))  # they have no session in common
    settled = workers.map(settle_users, log, parts, in_threads=True)
    for (sessions, _), labels in zip(parts, settled, strict=True):
        label[sessions] = labels
    dense: Index = np.unique(user * MAX_INTERESTS + label, return_inverse=True)[1]
    return dense


def settle_users(log: Log, part: tuple[Index, Index]) -> Index:
    """Group the sessions of some users, given the rows of all their sessions and playbacks."""
    sessions, plays = part
    groups = Groups(log.centre, variance=log.interest, n_users=N_USERS)
    return groups.settle(
        _gather(log, sessions, plays),
        log.session_user[sessions] % N_USERS,
        log.before[sessions],
        n_rounds=log.n_rounds,
    )


class Groups:
    """The groups of some users: user u's are 3 u, 3 u + 1 and 3 u + 2.

    Attributes:
        precision, pull, evidence: L, p and log Z, (3 n, d, d), (3 n, d) and (3 n,).
        count: Sessions, (3 n,).
    """

    def __init__(self, centre: Tensor, *, variance: float, n_users: int) -> None:
        """Begin with empty groups, which the prior alone tells of: N(centre, variance I)."""
        n_groups = n_users * MAX_INTERESTS
        self.prior = Told(torch.eye(len(centre)) / variance, centre / variance)
        self.precision = self.prior.precision.repeat(n_groups, 1, 1)
        self.pull = self.prior.pull.repeat(n_groups, 1)
        self.count = torch.zeros(n_groups, dtype=torch.long)
        self.nothing = log_evidence(self.prior.precision, self.prior.pull)
        self.evidence = self.nothing.repeat(n_groups)

    def settle(self, told: Told, user: Index, label: Index, *, n_rounds: int) -> Index:
        """Place sessions anew, one after another, users side by side.

        Args:
            told: What the sessions tell.
            user: Of each session, from 0, (n_sessions,).
            label: Of each session's group before, 0 to 2, (n_sessions,).
            n_rounds: How often each is placed.

        Returns:
            Label of each session's group, (n_sessions,).
        """
        alone = log_evidence(self.prior.precision + told.precision, self.prior.pull + told.pull)
        placed = torch.from_numpy(label.copy())
        first_group = torch.from_numpy(user) * MAX_INTERESTS
        self._fill(told, first_group + placed)
        turns = [torch.from_numpy(turn) for turn in split_turns(user)]
        for rows in turns * n_rounds:
            first = first_group[rows]
            part, before = told.take(rows), first + placed[rows]
            within = self.evidence[before]
            self._leave(part, before)
            joined = self._weigh(told, rows, first, alone=alone[rows], known=placed[rows])
            joined[torch.arange(len(rows)), placed[rows]] = within
            placed[rows] = self._join(part, first, joined)
        labels: Index = placed.numpy()
        return labels

    def _fill(self, told: Told, group: Tensor) -> None:
        """Put each session into its group; they are empty."""
        self._add(told, group, sign=1)
        filled = self.count.nonzero()[:, 0]
        self.evidence[filled] = log_evidence(self.precision[filled], self.pull[filled])

    def _weigh(
        self,
        told: Told,
        rows: Tensor,
        first: Tensor,
        *,
        alone: Tensor,
        known: Tensor,
    ) -> Tensor:
        """Return what the evidence of each group would be with the session, (n, 3).

        Args:
            told: What all sessions tell.
            rows: The sessions, of one user each, (n,).
            first: The first group of the user of each, (n,).
            alone: The evidence of each alone in a group, (n,): that of the empty ones.
            known: A label of each whose evidence is not asked for.
        """
        joined = alone[:, None].repeat(1, MAX_INTERESTS)
        asked = self.count[first[:, None] + torch.arange(MAX_INTERESTS)] > 0
        asked[torch.arange(len(rows)), known] = False
        nth, label = asked.nonzero(as_tuple=True)
        group, session = first[nth] + label, rows[nth]
        joined[nth, label] = log_evidence(
            self.precision[group].add_(told.precision[session]),
            self.pull[group] + told.pull[session],
        )
        return joined

    def _join(self, told: Told, first: Tensor, joined: Tensor) -> Tensor:
        """Choose groups, of one session each; interests are equally likely: empty ones add up."""
        groups = first[:, None] + torch.arange(MAX_INTERESTS)
        gain = joined - self.evidence[groups]
        is_empty = self.count[groups] == 0
        n_empty = is_empty.sum(1, keepdim=True).clamp(min=1)
        chosen = torch.where(is_empty, gain + n_empty.log(), gain).argmax(1)
        group = first + chosen
        self._add(told, group, sign=1)
        self.evidence[group] = joined[torch.arange(len(first)), chosen]
        return chosen

    def _leave(self, told: Told, group: Tensor) -> None:
        self._add(told, group, sign=-1)
        left, empty = group[self.count[group] > 0], group[self.count[group] == 0]
        self.evidence[left] = log_evidence(self.precision[left], self.pull[left])
        self.precision[empty], self.pull[empty] = self.prior.precision, self.prior.pull
        self.evidence[empty] = self.nothing

    def _add(self, told: Told, group: Tensor, *, sign: int) -> None:
        self.precision.index_add_(0, group, told.precision, alpha=sign)
        self.pull.index_add_(0, group, told.pull, alpha=sign)
        self.count.index_add_(0, group, torch.full_like(group, sign))


def log_evidence(precision: Tensor, pull: Tensor) -> Tensor:
    """Return log Z of the module, up to a constant, of matrices (..., d, d)."""
    root = torch.linalg.cholesky(precision)
    half = torch.linalg.solve_triangular(root, pull[..., None], upper=False)[..., 0]
    diagonal = root.diagonal(dim1=-2, dim2=-1)
    evidence: Tensor = 0.5 * (half**2).sum(-1) - diagonal.log().sum(-1)
    return evidence


def split_turns(user: Index) -> list[Index]:
    """Split sessions, by the user of each, into every user's first, every user's second, ..."""
    order = np.argsort(user, kind="stable")
    begin = np.flatnonzero(np.diff(user[order], prepend=-1))
    count = np.diff(np.append(begin, len(user)))
    nth = np.empty(len(user), dtype=np.int64)
    nth[order] = np.arange(len(user)) - np.repeat(begin, count)
    by_turn = np.argsort(nth, kind="stable")
    return np.split(by_turn, np.cumsum(np.bincount(nth))[:-1])


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
