"""Covariances of the posteriors of a block of groups, as few numbers as they need.

    V = (I / s + sum_n w_n h_n h_n')^-1

With fewer playbacks than dimensions V is s I - B' B for a short B (Woodbury), which costs n d^2
where the inverse of a (d, d) matrix costs d^3.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from services.trainer.core.threads import run_side_by_side

MAX_FILL = 0.5  # playbacks per dimension up to which the short form is cheaper
INVERT_BLOCK = 512  # matrices, to keep the work array small


class Covariances(Protocol):
    """V of each group of a block, symmetric (b, d, d)."""

    def apply(self, rows: Tensor) -> Tensor:
        """Multiply rows (b, m, d) by V from the right."""

    def diagonal(self) -> Tensor:
        """Return the diagonals, (b, d)."""

    def total(self) -> Tensor:
        """Return the sum over groups, (d, d)."""

    def dense(self) -> Tensor:
        """Return all entries, (b, d, d)."""

    def trace_with(self, metric: Tensor) -> Tensor:
        """Return tr(V M) for a symmetric M (d, d), (b,)."""

    def trace_around(self, inner: Tensor, metric: Tensor) -> Tensor:
        """Return tr(V N V M) for symmetric N (b, d, d) and M (d, d), (b,)."""


@dataclass(frozen=True)
class Dense:
    """V itself, `entries`, (b, d, d)."""

    entries: Tensor

    def apply(self, rows: Tensor) -> Tensor:
        """Multiply rows (b, m, d) by V from the right."""
        return rows @ self.entries

    def diagonal(self) -> Tensor:
        """Return the diagonals, (b, d)."""
        return self.entries.diagonal(dim1=1, dim2=2)

    def total(self) -> Tensor:
        """Return the sum over groups, (d, d)."""
        return self.entries.sum(0)

    def dense(self) -> Tensor:
        """Return all entries, (b, d, d)."""
        return self.entries

    def trace_with(self, metric: Tensor) -> Tensor:
        """Return tr(V M), (b,)."""
        return (self.entries * metric).sum((1, 2))

    def trace_around(self, inner: Tensor, metric: Tensor) -> Tensor:
        """Return tr(V N V M), (b,)."""
        return ((self.entries @ inner @ self.entries) * metric).sum((1, 2))


@dataclass(frozen=True)
class LowRank:
    """V = s I - B' B: `scale` s is (b,), `factor` B (b, n, d)."""

    scale: Tensor
    factor: Tensor

    def apply(self, rows: Tensor) -> Tensor:
        """Multiply rows (b, m, d) by V from the right."""
        inside = rows @ self.factor.transpose(1, 2)
        return torch.baddbmm(rows * self.scale[:, None, None], inside, self.factor, alpha=-1)

    def diagonal(self) -> Tensor:
        """Return the diagonals, (b, d)."""
        return self.scale[:, None] - (self.factor**2).sum(1)

    def total(self) -> Tensor:
        """Return the sum over groups, (d, d)."""
        flat = self.factor.flatten(0, 1)
        return self.scale.sum() * torch.eye(flat.shape[1]) - flat.T @ flat

    def dense(self) -> Tensor:
        """Return all entries, (b, d, d)."""
        entries = self.factor.transpose(1, 2) @ self.factor
        entries.neg_().diagonal(dim1=1, dim2=2).add_(self.scale[:, None])
        return entries

    def trace_with(self, metric: Tensor) -> Tensor:
        """Return tr(V M), (b,)."""
        return self.scale * metric.trace() - ((self.factor @ metric) * self.factor).sum((1, 2))

    def trace_around(self, inner: Tensor, metric: Tensor) -> Tensor:
        """Return tr(V N V M), (b,): s^2 tr NM - 2 s tr BNMB' + tr (BNB')(BMB')."""
        left, right = self.factor @ inner, self.factor @ metric
        both = (inner * metric).sum((1, 2)) * self.scale**2
        once = (left * right).sum((1, 2)) * self.scale
        short = self.factor.transpose(1, 2)
        return both - 2 * once + ((left @ short) * (right @ short)).sum((1, 2))


def make_covariances(precision: Tensor, design: Tensor, weight: Tensor) -> Covariances:
    """Invert the precision of each group.

    Args:
        precision: Of the prior's coordinates, 1 / s, (b,).
        design: h, (b, n, d).
        weight: w, 0 for places that do not count, (b, n).
    """
    n, d = design.shape[1:]
    if n > MAX_FILL * d:
        weighted = (design * weight[..., None]).transpose(1, 2)
        entries = weighted @ design
        entries.diagonal(dim1=1, dim2=2).add_(precision[:, None])
        invert_(entries)
        return Dense(entries)
    scale = 1 / precision
    rows = design * (weight.sqrt() * scale[:, None].sqrt())[..., None]
    inner = rows @ rows.transpose(1, 2)
    inner.diagonal(dim1=1, dim2=2).add_(1.0)
    root = torch.linalg.cholesky(inner)
    factor = torch.linalg.solve_triangular(root, rows * scale[:, None, None].sqrt(), upper=False)
    return LowRank(scale, factor)


def invert_(matrices: Tensor) -> None:
    """Invert positive definite matrices in place, (b, d, d)."""
    parts = [matrices[at : at + INVERT_BLOCK] for at in range(0, len(matrices), INVERT_BLOCK)]
    run_side_by_side(_invert_, parts)


def _invert_(matrices: Tensor) -> None:
    matrices.copy_(torch.cholesky_inverse(torch.linalg.cholesky(matrices)))
