"""Ragged groups of playbacks as padded blocks, for batched matrix products."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.session.plays import Index

BLOCK_ROWS = 40_000  # playbacks in a block: some megabytes per work array
MIN_GROUP = 48  # rows that a group counts as, for the size of its matrix


@dataclass(frozen=True)
class Block:
    """Groups of about the same size.

    Attributes:
        ids: Of the groups, (b,).
        rows: Playbacks of each group, (b, n); a padded place holds some playback.
        mask: 1 where a place is not padded, 0 where it is, float32 (b, n).
        filled: Places that are not padded, flat, (m,).
        flat: The playbacks there, (m,).
    """

    ids: Tensor
    rows: Tensor
    mask: Tensor
    filled: Tensor
    flat: Tensor


def make_blocks(group: Index, n_groups: int) -> list[Block]:
    """Cut playbacks, by the group of each, into blocks; groups without playbacks are in none."""
    return list(_blocks(group, n_groups))


def _blocks(group: Index, n_groups: int) -> Iterator[Block]:
    order = np.argsort(group, kind="stable")
    count = np.bincount(group, minlength=n_groups)
    begin = np.cumsum(count) - count
    size = _round_up(count)
    for length in np.unique(size[size > 0]).tolist():
        ids = np.flatnonzero(size == length)
        n_parts = max(1, len(ids) * max(length, MIN_GROUP) // BLOCK_ROWS)
        for part in np.array_split(ids, n_parts):
            place = np.arange(length)
            mask = place < count[part][:, None]
            rows = order[np.minimum(begin[part][:, None] + place, len(order) - 1)]
            yield Block(
                ids=torch.from_numpy(part),
                rows=torch.from_numpy(rows),
                mask=torch.from_numpy(mask.astype(np.float32)),
                filled=torch.from_numpy(np.flatnonzero(mask)),
                flat=torch.from_numpy(rows[mask]),
            )


def _round_up(count: Index) -> Index:
    """Round to 1, 2, 3, 4, 6, 8, 12, 16, ...: at most half is padding, a sixth on average."""
    power = 2 ** np.ceil(np.log2(np.maximum(count, 1))).astype(np.int64)
    three_quarters = power // 4 * 3
    rounded = np.where((power >= 4) & (count <= three_quarters), three_quarters, power)
    return np.where(count > 0, rounded, 0)
