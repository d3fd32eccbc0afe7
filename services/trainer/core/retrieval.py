"""Exact nearest neighbours by dot product, in blocks of bounded memory."""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.core.playbacks import FloatArray, IntArray

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
) -> IntArray:
    """Find the candidates with the largest dot product for every anchor.

    Args:
        context: Embedding of every row as what comes first, (n, dim).
        target: Embedding of every row as what follows, (n, dim).
        anchors: Rows that get neighbours, (n,).
        candidates: Rows that may be neighbours, (n,).
        k: Neighbours per row.
        block: Rows scored at once.

    Returns:
        Rows, best first, never the row itself, -1 pads, int32 (n, k).
    """
    neighbours = np.full((len(context), k), -1, dtype=np.int32)
    columns = np.flatnonzero(candidates)
    if len(columns) == 0:
        return neighbours
    target_columns = torch.from_numpy(target[columns]).T.contiguous()
    column_of = np.full(len(context), -1)
    column_of[columns] = np.arange(len(columns))
    width = min(k, len(columns))
    rows = np.flatnonzero(anchors)
    buffer = torch.empty(min(block, len(rows)), _pad(len(columns)))
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        scores = buffer[: len(part)]
        scores[:, len(columns) :] = -torch.inf
        torch.mm(torch.from_numpy(context[part]), target_columns, out=scores[:, : len(columns)])
        own = column_of[part]
        has_own = np.flatnonzero(own >= 0)
        scores[torch.from_numpy(has_own), torch.from_numpy(own[has_own])] = -torch.inf
        values, places = _select_largest(scores, width)
        is_none = torch.isneginf(values).numpy()
        found = columns[np.minimum(places.numpy(), len(columns) - 1)]
        neighbours[part, :width] = np.where(is_none, -1, found)
    return neighbours


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
