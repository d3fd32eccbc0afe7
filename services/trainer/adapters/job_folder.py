"""What a job keeps on disk: what it read, its checkpoint, its artifacts."""

import contextlib
import os
import shutil
import zipfile
import zlib
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import numpy as np

from services.trainer.core.checkpoints import Snapshot

FINGERPRINT = "fingerprint"
CHECKPOINT = "checkpoint.npz"
# What numpy raises for a file that is not whole.
DAMAGED = (ValueError, KeyError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)


class Origin(msgspec.Struct, frozen=True):
    """What a resumed training must read again.

    Attributes:
        watermark: Nothing stored after it is read.
        parent: Version that served when the training began.
    """

    watermark: datetime
    parent: str | None


class JobFolder:
    """The folder of one job, made when something is first written."""

    def __init__(self, folder: Path, job_id: UUID) -> None:
        """Take the trainer's folder."""
        self._path = folder / "jobs" / str(job_id)

    @property
    def checkpoint(self) -> Path:
        """Return where its checkpoint is."""
        return self._path / CHECKPOINT

    def load_origin(self) -> Origin | None:
        """Return what the training read when it ran before."""
        try:
            return msgspec.json.decode((self._path / "origin.json").read_bytes(), type=Origin)
        except (OSError, msgspec.MsgspecError):
            return None

    def save_origin(self, origin: Origin) -> None:
        """Keep what the training reads, for the case that it is resumed."""
        replace_file(self._path / "origin.json", msgspec.json.encode(origin))

    def forget_checkpoint(self) -> None:
        """Remove what is needed only by a training that has not succeeded."""
        for name in (CHECKPOINT, CHECKPOINT + ".new", "origin.json"):
            with contextlib.suppress(OSError):
                (self._path / name).unlink(missing_ok=True)

    def save_artifact(self, name: str, content: bytes) -> None:
        """Keep a picture or a table of the job."""
        replace_file(self._path / "artifacts" / name, content)

    def list_artifacts(self) -> list[Path]:
        """List what was kept, by name."""
        try:
            return sorted((self._path / "artifacts").glob("*"))
        except OSError:
            return []


class DiskCheckpoints:
    """One checkpoint in a file, replaced as a whole; a full disk costs the checkpoint alone."""

    def __init__(self, path: Path, on_failure: Callable[[str], None]) -> None:
        """Take the file, and who is told that it could not be written."""
        self._path = path
        self._on_failure = on_failure

    def load(self, fingerprint: str) -> Snapshot | None:
        """Return what was saved under the same fingerprint, if it is there and whole."""
        try:
            # Not by path: numpy leaves the file of a damaged archive open.
            with self._path.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
                if arrays[FINGERPRINT].item() != fingerprint:
                    return None
                return {name: arrays[name] for name in arrays.files if name != FINGERPRINT}
        except FileNotFoundError:
            return None
        except (OSError, *DAMAGED) as error:
            self._on_failure(f"the checkpoint cannot be read, the training begins anew: {error}")
            return None

    def save(self, fingerprint: str, snapshot: Snapshot) -> None:
        """Replace the checkpoint; where that fails, the one before stays."""
        new = self._path.with_name(self._path.name + ".new")
        try:
            new.parent.mkdir(parents=True, exist_ok=True)
            with new.open("wb") as file:
                arrays: dict[str, Any] = {FINGERPRINT: np.array(fingerprint), **snapshot}
                np.savez(file, allow_pickle=False, **arrays)
            new.replace(self._path)
        except OSError as error:
            with contextlib.suppress(OSError):
                new.unlink(missing_ok=True)
            self._on_failure(f"no checkpoint: {error.strerror}")


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that nobody ever sees half of it.

    Raises:
        OSError: If it cannot be written; the one before stays.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    new = path.with_name(path.name + ".new")
    try:
        new.write_bytes(content)
        os.replace(new, path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise


def prune_job_folders(folder: Path, *, keep: int, keep_checkpoints: int) -> None:
    """Remove what the oldest jobs left, and all but the newest checkpoints.

    Args:
        folder: The trainer's.
        keep: Jobs whose artifacts stay.
        keep_checkpoints: Checkpoints that stay, of jobs that did not succeed.
    """
    with contextlib.suppress(OSError):
        jobs = sorted((folder / "jobs").iterdir(), key=lambda job: job.stat().st_mtime)[::-1]
        for job in jobs[keep:]:
            shutil.rmtree(job, ignore_errors=True)
        with_checkpoint = [job for job in jobs[:keep] if (job / CHECKPOINT).exists()]
        for job in with_checkpoint[keep_checkpoints:]:
            (job / CHECKPOINT).unlink(missing_ok=True)
