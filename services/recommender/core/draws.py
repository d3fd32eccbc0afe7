"""Random numbers that are a pure function of the request they serve."""

import struct
from hashlib import blake2b

_pack = struct.Struct("<5q").pack


class Draw:
    """The random numbers of one decision: the same key, the same numbers, in any process.

    A hash of (key, counter) needs no state and no warm-up; a numpy generator costs more to
    construct than the whole decision.
    """

    __slots__ = ("_count", "_key")

    def __init__(self, seed: int, user: int, first_track: int, position: int) -> None:
        """Key the draw; two sessions of a user that begin alike draw alike."""
        self._key = (seed, user, first_track, position)
        self._count = 0

    def below(self, n: int) -> int:
        """Draw an integer uniformly from [0, n); the bias is below n / 2**64."""
        digest = blake2b(_pack(*self._key, self._count), digest_size=8).digest()
        self._count += 1
        return (int.from_bytes(digest, "big") * n) >> 64
