"""Commits that Redis could not take, in order, in a file of bounded size, until it can.

A record is its length, its checksum and the commit; a torn record at the end, of a process that was
killed in the middle of a write, was never answered and is dropped.
"""

import fcntl
import itertools
import logging
import os
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import msgspec

logger = logging.getLogger(__name__)

_HEAD = 8  # bytes of length and checksum
_MAX_FILES = 1024


class SpoolFullError(Exception):
    """The spool has reached its size."""


class Commit(msgspec.Struct, frozen=True, array_like=True):
    """A session's next state and its event, to be written both or neither.

    Attributes:
        user: Whose state it is.
        before: Tag of the state that it replaces; empty if there was none.
        after: The state to store, its tag first; empty deletes.
        event: The event, encoded.
        trace: Traceparent of the request, if it is traced.
    """

    user: int
    before: bytes
    after: bytes
    event: bytes
    trace: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decoder = msgspec.msgpack.Decoder(Commit)


class CommitSpool:
    """A queue of commits on disk; one process has it, others of the folder have their own."""

    def __init__(self, folder: Path, *, max_bytes: int) -> None:
        """Take a file of the folder, and what dead processes left in others.

        Args:
            folder: Created if it is not there.
            max_bytes: Size at which no more is taken.

        Raises:
            OSError: If the folder cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._max_bytes = max_bytes
        self._size = 0
        self._waiting: deque[Commit] = deque()
        self._folder = folder
        self._file = _lock_first(folder)
        self._adopt(self._file)
        self.adopt_left()

    @property
    def path(self) -> Path:
        """Return its file, which is this process's alone while it is open."""
        return Path(self._file.name)

    def __len__(self) -> int:
        """Return how many commits wait."""
        return len(self._waiting)

    @property
    def n_bytes(self) -> int:
        """Return the size of the file."""
        return self._size

    def adopt_left(self) -> dict[int, bytes]:
        """Take what processes that are dead by now left in their files.

        Returns:
            The last state of each user with a commit that was taken.
        """
        adopted = {}
        for path in sorted(self._folder.glob("*.spool")):
            if path != self.path and (left := _lock(path)) is not None:
                with left:
                    commits = [commit for commit, _ in _read(left)]
                    if not self._take(commits):
                        break
                    adopted.update({commit.user: commit.after for commit in commits})
                    path.unlink()
        return adopted

    def append(self, commit: Commit) -> None:
        """Keep a commit; it survives this process once this returns.

        Raises:
            SpoolFullError: If there is no room, in the spool or on the disk.
        """
        if self._size >= self._max_bytes:
            raise SpoolFullError(f"{len(self._waiting)} commits wait already")
        try:
            self._write(commit)
        except OSError as error:
            self._file.truncate(self._size)
            raise SpoolFullError(str(error)) from error

    def first(self, n: int = 1) -> list[Commit]:
        """Return the oldest commits that wait, at most n."""
        return list(itertools.islice(self._waiting, n))

    def users(self) -> dict[int, bytes]:
        """Return the last state of each user with a commit that waits."""
        return {commit.user: commit.after for commit in self._waiting}

    def drop_first(self, n: int = 1) -> None:
        """Forget the oldest commits: they were delivered.

        The file is emptied with the last one: after a crash some are delivered again, which changes
        nothing.
        """
        for _ in range(n):
            self._waiting.popleft()
        if not self._waiting:
            self._file.truncate(0)
            self._size = 0

    def close(self) -> None:
        """Let go of the file; what waits stays in it."""
        self._file.close()

    def _adopt(self, file: BinaryIO) -> None:
        for commit, end in _read(file):
            self._waiting.append(commit)
            self._size = end  # as it was written: another release's records have other lengths
        file.truncate(self._size)

    def _take(self, commits: Sequence[Commit]) -> bool:
        """Write them all; or none, if the disk has no room: they stay where they are."""
        size, n_waiting = self._size, len(self._waiting)
        try:
            for commit in commits:
                self._write(commit)
        except OSError as error:
            logger.warning("what a dead process left has to wait: %s", error)
            self._file.truncate(size)
            self._size = size
            while len(self._waiting) > n_waiting:
                self._waiting.pop()
            return False
        return True

    def _write(self, commit: Commit) -> None:
        payload = _encode(commit)
        record = len(payload).to_bytes(4, "big") + zlib.crc32(payload).to_bytes(4, "big") + payload
        written = os.pwrite(self._file.fileno(), record, self._size)
        if written < len(record):
            raise OSError("the disk is full")
        self._size += len(record)
        self._waiting.append(commit)


def _lock_first(folder: Path) -> BinaryIO:
    for n in range(_MAX_FILES):
        path = folder / f"{n}.spool"
        path.touch()
        if (file := _lock(path)) is not None:
            return file
    raise OSError(f"{folder}: every spool is in use")


def _lock(path: Path) -> BinaryIO | None:
    """Open a file for this process alone; None if another has it, or deleted it."""
    try:
        file = path.open("r+b", buffering=0)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    if not path.exists() or path.stat().st_ino != os.fstat(file.fileno()).st_ino:
        file.close()
        return None
    return file


def _read(file: BinaryIO) -> Iterator[tuple[Commit, int]]:
    """Yield the whole records of a file, each with the place of its end."""
    data = file.read()
    place = 0
    while place + _HEAD <= len(data):
        length = int.from_bytes(data[place : place + 4], "big")
        payload = data[place + _HEAD : place + _HEAD + length]
        checksum = int.from_bytes(data[place + 4 : place + _HEAD], "big")
        # A file that a crash left longer than what was written ends with zeros: of nothing, zero is
        # the right checksum.
        if not payload or zlib.crc32(payload) != checksum:
            return
        place += _HEAD + length
        yield _decoder.decode(payload), place
