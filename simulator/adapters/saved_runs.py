"""A run on disk: a folder with `run.json`, what was played, and `sessions.jsonl`, its sessions.

A session is written in one piece as it ends, so that whatever stops a run loses none that ended.
"""

from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

import msgspec

from simulator.core.listeners import ListenerDefaults
from simulator.saved_session import SavedSession

MANIFEST, SESSIONS = "run.json", "sessions.jsonl"


class SavedRunError(ValueError):
    """A run that cannot be saved or read; the message names the file and the fault."""


class RunManifest(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What was played: all that its sessions are a function of, but for what served them.

    Attributes:
        schema: Version of this format.
        recommender: The policy in process, or the URL of the service.
        seed: Of the listeners.
        world: Where it was.
        checksums: SHA-256 per file of the world.
        listener: What a user's line leaves open.
        started_at, finished_at: UTC; without the second the run was cut short.
        n_sessions: In `sessions.jsonl`, once it finished.
        arguments: Of the command, for people.
    """

    schema: Literal[1] = 1
    recommender: str
    seed: int
    world: str
    checksums: dict[str, str]
    listener: ListenerDefaults
    started_at: datetime
    finished_at: datetime | None = None
    n_sessions: int | None = None
    arguments: dict[str, Any] = {}


class SavedRun(msgspec.Struct, frozen=True):
    """A run as it was saved.

    Attributes:
        manifest: What was played.
        sessions: By episode.
        is_cut: Whether the last line is not whole: something killed the run as it was written.
    """

    manifest: RunManifest
    sessions: tuple[SavedSession, ...]
    is_cut: bool = False


class RunFolder:
    """Saves a run while it goes on; use it as a context manager."""

    def __init__(self, folder: Path, manifest: RunManifest) -> None:
        """Begin.

        Raises:
            SavedRunError: If the folder cannot be made, or holds a run.
        """
        self._folder = folder
        self._manifest = manifest
        self._n_sessions = 0
        self._encoder = msgspec.json.Encoder()
        if (folder / MANIFEST).exists():
            raise SavedRunError(f"{folder / MANIFEST}: there is a run already")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._write_manifest()
            # Unbuffered: a session is in the file once `write` has returned.
            self._file: BinaryIO = (folder / SESSIONS).open("wb", buffering=0)
        except OSError as error:
            raise SavedRunError(f"{error.filename}: {error.strerror}") from error

    def __enter__(self) -> "RunFolder":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()

    def write(self, session: SavedSession) -> None:
        """Add a session.

        Raises:
            SavedRunError: If the disk does not take it.
        """
        try:
            self._file.write(self._encoder.encode(session) + b"\n")
        except OSError as error:
            raise SavedRunError(f"{self._folder / SESSIONS}: {error.strerror}") from error
        self._n_sessions += 1

    def finish(self, at: datetime) -> None:
        """Record that the run came to its end."""
        self._manifest = msgspec.structs.replace(
            self._manifest, finished_at=at, n_sessions=self._n_sessions
        )
        self._write_manifest()

    def _write_manifest(self) -> None:
        text = msgspec.json.format(msgspec.json.encode(self._manifest), indent=2)
        (self._folder / MANIFEST).write_bytes(text + b"\n")


def load_run(folder: Path) -> SavedRun:
    """Read a run, also one that was cut short.

    Raises:
        SavedRunError: If a file is absent or damaged, an episode repeats, or sessions are missing.
    """
    try:
        manifest = msgspec.json.decode(_read(folder / MANIFEST), type=RunManifest)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise SavedRunError(f"{folder / MANIFEST}: {error}") from error
    path = folder / SESSIONS
    *lines, rest = _read(path).split(b"\n")
    decoder = msgspec.json.Decoder(SavedSession)
    sessions = []
    for number, line in enumerate(lines, 1):
        try:
            sessions.append(decoder.decode(line))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise SavedRunError(f"{path}: line {number}: {error}") from error
    if not sessions:
        raise SavedRunError(f"{path}: no sessions")
    if len({session.episode for session in sessions}) < len(sessions):
        raise SavedRunError(f"{path}: an episode repeats")
    if manifest.n_sessions not in {None, len(sessions)}:
        raise SavedRunError(
            f"{path}: has {len(sessions)} sessions, {MANIFEST} says {manifest.n_sessions}"
        )
    ordered = sorted(sessions, key=lambda session: session.episode)
    return SavedRun(manifest, tuple(ordered), is_cut=bool(rest))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SavedRunError(f"{path}: {error.strerror}") from error
