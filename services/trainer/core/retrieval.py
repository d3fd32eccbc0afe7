"""Exact nearest neighbours by dot product, in blocks of bounded memory."""

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.core.playbacks import FloatArray, IntArray
from services.trainer.core.workers import HERE, Workers

BLOCK = 256  # with 50,000 candidates a block of scores takes 50 MB
_STRIDE = 16  # scores that stand for each other in the first pass

BoolArray = npt.NDArray[np.bool_]


def find_neighbours(
    context: FloatArray,
    target: FloatArray,
    *,
    anchors: BoolArray,
    candidates: BoolArray,
    k: int,
    block: int = BLOCK,
    workers: Workers = HERE,
) -> IntArray:
    """Find the candidates with the largest dot product for every anchor.

    Args:
        context: Embedding of every row as what comes first, (n, dim).
        target: Embedding of every row as what follows, (n, dim).
        anchors: Rows that get neighbours, (n,).
        candidates: Rows that may be neighbours, (n,).
        k: Neighbours per row.
        block: Rows scored at once.
        workers: Who scores them.

    Returns:
        Rows, best first, never the row itself, -1 pads, int32 (n, k).
    """
    neighbours = np.full((len(context), k), -1, dtype=np.int32)
    columns = np.flatnonzero(candidates)
    if len(columns) == 0:
        return neighbours
    search = _Search(
        context=torch.from_numpy(context),
        target=torch.from_numpy(target[columns]).T.contiguous(),
        columns=columns,
        width=min(k, len(columns)),
        n_scores=min(block, int(anchors.sum())),
    )
    rows = np.flatnonzero(anchors)
    parts = [rows[start : start + block] for start in range(0, len(rows), block)]
    found = workers.map(_search_block, search, parts)
    for part, best in zip(parts, found, strict=True):
        neighbours[part, : search.width] = best
    return neighbours


@dataclass(frozen=True)
class _Search:
    """What all blocks need.

    Attributes:
        context: (n, dim).
        target: Of the candidates, as columns, (dim, n_candidates).
        columns: Row of each candidate, ascending.
        width: Neighbours to find.
        n_scores: Rows of the largest block.
    """

    context: Tensor
    target: Tensor
    columns: npt.NDArray[np.intp]
    width: int
    n_scores: int

    @functools.cached_property
    def buffer(self) -> Tensor:
        """A block's scores: one place for all blocks that are scored one after another."""
        return torch.empty(self.n_scores, _pad(len(self.columns)))

    def __getstate__(self) -> dict[str, Any]:
        """Travel without the buffer."""
        return {name: value for name, value in vars(self).items() if name != "buffer"}


def _search_block(search: _Search, rows: npt.NDArray[np.intp]) -> IntArray:
    """Find the neighbours of some rows, (len(rows), width)."""
    columns, scores = search.columns, search.buffer[: len(rows)]
    scores[:, len(columns) :] = -torch.inf
    torch.mm(search.context[torch.from_numpy(rows)], search.target, out=scores[:, : len(columns)])
    own_column = np.minimum(np.searchsorted(columns, rows), len(columns) - 1)
    has_own = np.flatnonzero(columns[own_column] == rows)
    scores[torch.from_numpy(has_own), torch.from_numpy(own_column[has_own])] = -torch.inf
    values, places = _select_largest(scores, search.width)
    is_none = torch.isneginf(values).numpy()
    found = columns[np.minimum(places.numpy(), len(columns) - 1)]
    return np.where(is_none, -1, found).astype(np.int32)


def _pad(n_columns: int) -> int:
    return -(-n_columns // _STRIDE) * _STRIDE


def _select_largest(scores: Tensor, k: int) -> tuple[Tensor, Tensor]:
    """Select the k largest scores of every row and their columns, largest first.

    The columns are dealt into groups of `_STRIDE`. The k groups with the largest maxima hold the
    k largest scores: each of those maxima is as large as any score of another group.

    Args:
        scores: (n, a multiple of `_STRIDE`).
        k: How many.
    """
    n, n_columns = scores.shape
    n_groups = n_columns // _STRIDE
    if n_groups <= k:
        return torch.topk(scores, k, dim=1)
    maxima = scores.view(n, _STRIDE, n_groups).amax(dim=1)
    groups = torch.topk(maxima, k, dim=1, sorted=False).indices
    members = torch.arange(0, n_columns, n_groups)
    columns = (groups[:, :, None] + members).view(n, -1)  # (n, k * _STRIDE)
    best = torch.topk(scores.gather(1, columns), k, dim=1)
    return best.values, columns.gather(1, best.indices)
