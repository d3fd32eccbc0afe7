"""The sessions' states last written on this machine: what its workers know without Redis.

Each worker writes a file of its own, mapped into memory, and reads those of all. A file has a slot
per user, by the remainder of its id, and a ring of states; a slot tells where in the ring its state
begins, and a checksum of both, so that what is half written or written over counts as nothing. A
state that fits is written over the user's last: the ring holds users, not steps. What one process
wrote outlives it.
"""

import mmap
import os
import struct
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

SUFFIX = ".recent"
N_SLOTS = 65_536
RING_BYTES = 16 * 1024 * 1024

_SLOT = struct.Struct("<QQIIII")  # written at, offset, length, user, checksum, room and flag
_SPOOLED = 1  # the flag; rooms are even
_LEAST_ROOM = 256
_HEAD = struct.Struct("<Q")  # where the next state begins, never wrapped
_SLOTS_AT = 32


class Recent(NamedTuple):
    """A state, and whether Redis waits for it; empty bytes are a session's end."""

    state: bytes
    is_spooled: bool


class RecentStates:
    """The states that fit, of all workers of a folder; the newest of a user counts."""

    def __init__(
        self,
        path: Path,
        *,
        max_age_s: float,
        now_ns: Callable[[], int] = time.time_ns,
        n_slots: int = N_SLOTS,
        ring_bytes: int = RING_BYTES,
    ) -> None:
        """Open this worker's file, and look for those of others beside it.

        Args:
            path: Of the file, which no other process writes; what is in it stays.
            max_age_s: An older state counts as nothing.
            now_ns: A clock that all workers share.
            n_slots, ring_bytes: Of every file of the folder.

        Raises:
            OSError: If the file cannot be made.
        """
        self._path = path
        self._max_age_ns = int(max_age_s * 1e9)
        self._now_ns = now_ns
        self._n_slots = n_slots
        self._ring_at = _SLOTS_AT + n_slots * _SLOT.size
        self._ring_bytes = ring_bytes
        with path.open("a+b") as file:
            file.truncate(self._ring_at + ring_bytes)
            self._own = mmap.mmap(file.fileno(), self._ring_at + ring_bytes)
        self._files = {path: self._own}
        self._folder = str(path.parent)
        self._seen_ns = 0

    def _look_around(self) -> None:
        """Open the files that other workers made meanwhile, if the folder has changed."""
        changed_ns = os.stat(self._folder).st_mtime_ns
        if changed_ns == self._seen_ns:
            return
        self._seen_ns = changed_ns
        size = self._ring_at + self._ring_bytes
        for path in self._path.parent.glob(f"*{SUFFIX}"):
            if path in self._files:
                continue
            if path.stat().st_size != size:  # its worker is about to make it longer
                self._seen_ns = 0
                continue
            with path.open("rb") as file:
                self._files[path] = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)

    def put(self, user: int, state: bytes, *, is_spooled: bool = False) -> None:
        """Remember a user's state."""
        at = self._slot_at(user)
        offset, room = self._find_room(at, user, len(state))
        begin = self._ring_at + offset % self._ring_bytes
        kept = state if len(state) <= room else b""  # its checksum then fails
        self._own[begin : begin + len(kept)] = kept
        written_ns = self._now_ns()
        checksum = _checksum(user, written_ns, state)
        flags = room | _SPOOLED if is_spooled else room
        _SLOT.pack_into(self._own, at, written_ns, offset, len(kept), user, checksum, flags)

    def _find_room(self, at: int, user: int, length: int) -> tuple[int, int]:
        """Return where in the ring a state can go, and how long it may become there."""
        (head,) = _HEAD.unpack_from(self._own)
        _, offset, _, owner, _, flags = _SLOT.unpack_from(self._own, at)
        room = flags & ~_SPOOLED
        if owner == user and length <= room and offset <= head <= offset + self._ring_bytes:
            return offset, room
        room = min(1 << max(_LEAST_ROOM, length).bit_length(), self._ring_bytes & ~_SPOOLED)
        left = self._ring_bytes - head % self._ring_bytes
        offset = head if room <= left else head + left
        _HEAD.pack_into(self._own, 0, offset + room)
        return offset, room

    def settle(self, user: int) -> None:
        """Note that Redis has what this worker last spooled of a user."""
        at = self._slot_at(user)
        slot = _SLOT.unpack_from(self._own, at)
        if slot[3] == user:
            _SLOT.pack_into(self._own, at, *slot[:5], slot[5] & ~_SPOOLED)

    def find(self, user: int) -> Recent | None:
        """Find the newest state of a user.

        Returns:
            None if none is remembered, or this worker lost it; a state of nothing if another
            worker's was the newest and is lost: what is older would be wrong.
        """
        newest = self._find_slot(user)
        if newest is None:
            return None
        file, (written_ns, offset, length, _, checksum, flags) = newest
        begin = self._ring_at + offset % self._ring_bytes
        state = file[begin : begin + length]
        if _checksum(user, written_ns, state) != checksum:
            return None if file is self._own else Recent(b"", bool(flags & _SPOOLED))
        return Recent(state, bool(flags & _SPOOLED))

    def recall(self, user: int) -> bytes:
        """Return the newest state of a user; empty if there is none, or it is lost."""
        found = self.find(user)
        return b"" if found is None else found.state

    def is_spooled(self, user: int) -> bool:
        """Return whether Redis waits for the newest state of a user."""
        newest = self._find_slot(user)
        return newest is not None and bool(newest[1][5] & _SPOOLED)

    def _find_slot(self, user: int) -> tuple[mmap.mmap, tuple[int, ...]] | None:
        self._look_around()
        newest: tuple[mmap.mmap, tuple[int, ...]] | None = None
        at = self._slot_at(user)
        now_ns = self._now_ns()
        newest_ns = now_ns - self._max_age_ns
        for file in self._files.values():
            slot = _SLOT.unpack_from(file, at)
            # What is ahead of the clock was written before it was set back.
            if slot[3] == user and newest_ns <= slot[0] <= now_ns and slot[0]:
                newest_ns, newest = slot[0], (file, slot)
        return newest

    def close(self) -> None:
        """Close the files; what is in them stays."""
        for file in self._files.values():
            file.close()

    def _slot_at(self, user: int) -> int:
        return _SLOTS_AT + user % self._n_slots * _SLOT.size


def _checksum(user: int, written_ns: int, state: bytes) -> int:
    return zlib.crc32(state, zlib.crc32(struct.pack("<IQ", user, written_ns)))
