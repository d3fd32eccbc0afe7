"""What a session's taste is between two requests: bytes, of one model version and one treatment."""

import functools
import struct
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.core.session_taste import Taste
from services.recommender.core.taste_model import IntArray

Places = npt.NDArray[np.intp]

# Tag, observed playbacks, size of the mean, candidates, the first of them, bytes of a gap.
_HEADER = struct.Struct("<8sIHIIB")
_FORMAT = 2  # changes with the above
_WIDTHS = (1, 2, 4)


class Memory(NamedTuple):
    """A taste on its way.

    Attributes:
        taste: After `n_plays` playbacks.
        n_plays: Playbacks that it knows, the first track counted.
        candidates: Rows, ascending, int32.
    """

    taste: Taste
    n_plays: int
    candidates: IntArray


def make_tag(version: str, *key: int | float) -> bytes:
    """Name what a memory depends on beside the session's playbacks."""
    return blake2b(repr((_FORMAT, version, *key)).encode(), digest_size=8).digest()


def pack_memory(memory: Memory, tag: bytes) -> bytes:
    """Write a memory: the covariance by its upper triangle, candidates by the gaps between them."""
    mean, covariance = memory.taste
    rows = memory.candidates
    gaps = np.diff(rows)
    width = _width(int(gaps.max(initial=0)))
    first = int(rows[0]) if len(rows) else 0
    head = _HEADER.pack(tag, memory.n_plays, len(mean), len(rows), first, width)
    numbers = np.concatenate([mean, covariance.take(_upper(len(mean)))])
    return head + numbers.astype("<f4").tobytes() + gaps.astype(f"<u{width}").tobytes()


def unpack_memory(payload: bytes, tag: bytes) -> Memory | None:
    """Read a memory; None if there is none, or it is another version's, or damaged."""
    if len(payload) < _HEADER.size:
        return None
    found, n_plays, size, n_rows, first, width = _HEADER.unpack_from(payload)
    n_numbers = size + size * (size + 1) // 2
    n_gaps = max(n_rows - 1, 0)
    if (
        width not in _WIDTHS
        or found != tag
        or len(payload) != _HEADER.size + 4 * n_numbers + width * n_gaps
    ):
        return None
    numbers = np.frombuffer(payload, "<f4", n_numbers, _HEADER.size)
    rows = np.empty(n_rows, np.int32)
    rows[:1] = first
    rows[1:] = np.frombuffer(payload, f"<u{width}", n_gaps, _HEADER.size + 4 * n_numbers)
    covariance = numbers.take(_places(size))
    return Memory(Taste(numbers[:size].copy(), covariance), n_plays, rows.cumsum(dtype=np.int32))


def _width(gap: int) -> int:
    """Return the bytes that the largest gap between two candidates takes."""
    return next(width for width in _WIDTHS if gap < 2 ** (8 * width))


@functools.lru_cache(maxsize=4)
def _upper(size: int) -> Places:
    """Name the flat places of the upper triangle, row by row."""
    rows, columns = np.triu_indices(size)
    return rows * size + columns


@functools.lru_cache(maxsize=4)
def _places(size: int) -> Places:
    """Name for every place of a covariance its number in a memory, where the mean stands first."""
    places = np.empty((size, size), np.intp)
    rows, columns = np.triu_indices(size)
    places[rows, columns] = places[columns, rows] = size + np.arange(len(rows))
    return places
