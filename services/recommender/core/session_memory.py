"""What a session's taste is between two requests: bytes, of one model version and one treatment."""

import functools
import struct
from hashlib import blake2b
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from services.recommender.core.session_taste import Taste
from services.recommender.core.taste_model import IntArray

_HEADER = struct.Struct("<8sIHI")  # tag, observed playbacks, size of the mean, candidates


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
    return blake2b(repr((version, *key)).encode(), digest_size=8).digest()


def pack_memory(memory: Memory, tag: bytes) -> bytes:
    """Write a memory: the covariance by its upper triangle, all numbers little-endian."""
    mean, covariance = memory.taste
    head = _HEADER.pack(tag, memory.n_plays, len(mean), len(memory.candidates))
    upper = covariance[_upper(len(mean))]
    numbers = np.concatenate([mean, upper]).astype("<f4").tobytes()
    return head + numbers + memory.candidates.astype("<i4").tobytes()


def unpack_memory(payload: bytes, tag: bytes) -> Memory | None:
    """Read a memory; None if there is none, or it is another version's, or damaged."""
    if len(payload) < _HEADER.size:
        return None
    found, n_plays, size, n_candidates = _HEADER.unpack_from(payload)
    n_numbers = size + size * (size + 1) // 2
    if found != tag or len(payload) != _HEADER.size + 4 * (n_numbers + n_candidates):
        return None
    numbers = np.frombuffer(payload, "<f4", n_numbers, _HEADER.size)
    candidates = np.frombuffer(payload, "<i4", n_candidates, _HEADER.size + 4 * n_numbers)
    covariance = np.empty((size, size), np.float32)
    rows, columns = _upper(size)
    covariance[rows, columns] = covariance[columns, rows] = numbers[size:]
    return Memory(Taste(numbers[:size].copy(), covariance), n_plays, candidates.astype(np.int32))


@functools.lru_cache(maxsize=4)
def _upper(size: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """Name the places of the upper triangle; finding them anew costs more than using them."""
    return np.triu_indices(size)
