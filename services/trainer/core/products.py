"""Dot products between two embeddings, and their step of gradient descent, for a batch of pairs.

For a squared error the gradient of a row is a weighted sum of the rows that it was multiplied with,
so nothing is recorded and nothing as large as the embeddings is ever written.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from services.trainer.core.lazy_adam import LazyTable


class Side(NamedTuple):
    """One side of a batch's pairs, by different rows.

    Attributes:
        rows: Those that occur, (n_rows,).
        place: Of each pair's row among them, (n_pairs,).
        order: Pairs, those of a row together, (n_pairs,).
        starts: Where a row's pairs begin in that order, (n_rows,).
        weight: Of the rows, (n_rows, dim).
    """

    rows: Tensor
    place: Tensor
    order: Tensor
    starts: Tensor
    weight: Tensor


class Batch(NamedTuple):
    """A batch's products, and what a step needs.

    Attributes:
        left, right: The two sides.
        scores: Dot product of each pair, (n_pairs,).
    """

    left: Side
    right: Side
    scores: Tensor


class Product:
    """The dot products of rows of two tables, which are fitted a batch at a time."""

    def __init__(self, left: LazyTable, right: LazyTable) -> None:
        """Take the tables."""
        self._left = left
        self._right = right

    def score(self, lefts: Tensor, rights: Tensor) -> Batch:
        """Compute the products of pairs.

        Args:
            lefts: Rows of the left table, int64 (n_pairs,).
            rights: Rows of the right table, same shape.
        """
        left, right = _gather(self._left, lefts), _gather(self._right, rights)
        before = left.weight.index_select(0, left.place)
        after = right.weight.index_select(0, right.place)
        return Batch(left, right, before.mul_(after).sum(dim=1))

    def step(self, batch: Batch, slopes: Tensor) -> None:
        """Take a step of Adam.

        Args:
            batch: As scored since the latest step.
            slopes: Derivative of the loss by each pair's product, (n_pairs,).
        """
        left, right = batch.left, batch.right
        gradients = _sum_of_partners(left, right, slopes), _sum_of_partners(right, left, slopes)
        self._left.step(left.rows, gradients[0])
        self._right.step(right.rows, gradients[1])


def _gather(table: LazyTable, rows: Tensor) -> Side:
    ordered, order = rows.sort(stable=True)
    different, ordered_place, counts = torch.unique_consecutive(
        ordered, return_inverse=True, return_counts=True
    )
    place = torch.empty_like(order)
    place[order] = ordered_place
    starts = counts.cumsum(dim=0) - counts
    return Side(different, place, order, starts, table.fetch(different).contiguous())


def _sum_of_partners(own: Side, partner: Side, slopes: Tensor) -> Tensor:
    """Sum, per row, the rows it was multiplied with, by their slopes, (n_rows, dim)."""
    return embedding_bag(
        partner.place[own.order],
        partner.weight,
        own.starts,
        mode="sum",
        per_sample_weights=slopes[own.order],
    )
