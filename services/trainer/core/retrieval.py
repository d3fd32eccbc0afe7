"""Exact nearest neighbours by dot product, in blocks of bounded memory."""

import numpy as np
import numpy.typing as npt
import torch

from services.trainer.core.playbacks import FloatArray, IntArray

BLOCK = 1024  # with 50,000 candidates a block of scores takes 200 MB

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
    target_columns = torch.from_numpy(target[columns]).T
    column_of = np.full(len(context), -1)
    column_of[columns] = np.arange(len(columns))
    width = min(k, len(columns))
    rows = np.flatnonzero(anchors)
    for start in range(0, len(rows), block):
        part = rows[start : start + block]
        scores = torch.from_numpy(context[part]) @ target_columns  # (block, n_candidates)
        own = column_of[part]
        has_own = np.flatnonzero(own >= 0)
        scores[torch.from_numpy(has_own), torch.from_numpy(own[has_own])] = -torch.inf
        best = torch.topk(scores, width, dim=1)
        found = columns[best.indices.numpy()]
        neighbours[part, :width] = np.where(torch.isneginf(best.values).numpy(), -1, found)
    return neighbours
