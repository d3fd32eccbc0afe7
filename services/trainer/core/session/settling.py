"""The groups of some users' sessions, and the evidence that places a session in one of them.

A session tells of its interest a precision L_s and a pull p_s. A group of sessions has the evidence

    log Z(L, p) = (p' L^-1 p - log |L|) / 2,   L = I / y + sum L_s,   p = m / y + sum p_s

and a session joins the group whose evidence it raises most, all others held.

Source: Neal (2000), algorithm 3, with the best choice instead of a drawn one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.session.interests import MAX_INTERESTS
from services.trainer.core.session.plays import BoolArray, Index


@dataclass(frozen=True)
class Told:
    """What sessions tell of their interests: precision (n, d, d) and pull (n, d)."""

    precision: Tensor
    pull: Tensor

    def take(self, rows: Tensor) -> "Told":
        """Return some sessions'."""
        return Told(self.precision[rows], self.pull[rows])


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

    def settle(
        self, told: Told, user: Index, label: Index, is_asked: BoolArray, *, n_rounds: int
    ) -> tuple[Index, Tensor]:
        """Place sessions anew, one after another, users side by side.

        Args:
            told: What the sessions tell.
            user: Of each session, from 0, (n_sessions,).
            label: Of each session's group before, 0 to 2, (n_sessions,).
            is_asked: Whether each is placed anew, (n_sessions,).
            n_rounds: How often.

        Returns:
            Label of each session's group, (n_sessions,), and of those asked, by how much the
            evidence of the group is the best, (n_asked,).
        """
        asked = torch.from_numpy(np.flatnonzero(is_asked))
        placed = torch.from_numpy(label.copy())
        first_group = torch.from_numpy(user) * MAX_INTERESTS
        self._fill(told, first_group + placed)
        alone, margin = torch.empty(len(user)), torch.empty(len(user))
        alone[asked] = log_evidence(
            self.prior.precision + told.precision[asked], self.prior.pull + told.pull[asked]
        )
        turns = [asked[torch.from_numpy(turn)] for turn in split_turns(user[is_asked])]
        for rows in turns * n_rounds:
            first = first_group[rows]
            part, before = told.take(rows), first + placed[rows]
            within = self.evidence[before]
            self._leave(part, before)
            joined = self._weigh(told, rows, first, alone=alone[rows], known=placed[rows])
            joined[torch.arange(len(rows)), placed[rows]] = within
            placed[rows], margin[rows] = self._join(part, first, joined)
        return placed.numpy(), margin[asked]

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

    def _join(self, told: Told, first: Tensor, joined: Tensor) -> tuple[Tensor, Tensor]:
        """Choose groups, of one session each; interests are equally likely: empty ones add up.

        Returns:
            The groups' labels, and by how much each is better than any that is not its like.
        """
        groups = first[:, None] + torch.arange(MAX_INTERESTS)
        gain = joined - self.evidence[groups]
        is_empty = self.count[groups] == 0
        n_empty = is_empty.sum(1, keepdim=True).clamp(min=1)
        value = torch.where(is_empty, gain + n_empty.log(), gain)
        best, chosen = value.max(1)
        is_like = is_empty & is_empty.gather(1, chosen[:, None])  # one empty group is as good
        is_like.scatter_(1, chosen[:, None], True)
        margin = best - value.masked_fill(is_like, -torch.inf).max(1)[0]
        group = first + chosen
        self._add(told, group, sign=1)
        self.evidence[group] = joined[torch.arange(len(first)), chosen]
        return chosen, margin

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
