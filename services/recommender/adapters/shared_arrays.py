"""Arrays that all workers of a machine read from the same pages: files, mapped into memory.

A file is named by its content, and written once: whichever worker comes first writes it, the others
map what is there. It goes when no version that this process serves needs it; a worker that is
behind keeps its mapping all the same.
"""

import contextlib
import hashlib
import io
import os
import tempfile
import time
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

AnyArray = npt.NDArray[Any]

_LEAST_AGE_S = 60.0  # of a file that is removed: another worker may be ahead


class SharedArrays:
    """A folder of arrays."""

    def __init__(self, folder: Path) -> None:
        """Use a folder.

        Raises:
            OSError: If it cannot be written to.
        """
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder

    def share(self, array: AnyArray) -> tuple[AnyArray, str]:
        """Return the same array, read-only and mapped, and its file's name.

        Raises:
            OSError: If there is no room.
        """
        buffer = io.BytesIO()
        np.save(buffer, array, allow_pickle=False)
        payload = buffer.getbuffer()
        path = self._folder / f"{hashlib.sha256(payload).hexdigest()}.npy"
        mapped = _map(path) if path.exists() else None
        return np.asarray(mapped if mapped is not None else self._write(path, payload)), path.name

    def remove_others(self, names: Collection[str]) -> None:
        """Remove all files but these, and what writers left that died."""
        oldest = time.time() - _LEAST_AGE_S
        for path in self._folder.iterdir():
            with contextlib.suppress(FileNotFoundError):  # another worker was quicker
                if path.name not in names and path.stat().st_mtime < oldest:
                    path.unlink()

    def _write(self, path: Path, payload: memoryview) -> AnyArray:
        """Write a file at once or not at all; what is there stays there, if it is right."""
        with tempfile.NamedTemporaryFile(dir=self._folder, suffix=".part") as file:
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(file.name, path)
            mapped = _map(path)
            if mapped is None:  # what was there is damaged: the next one finds nothing
                mapped = np.load(file.name, mmap_mode="r", allow_pickle=False)
                path.unlink(missing_ok=True)
        return mapped


def _map(path: Path) -> AnyArray | None:
    """Map a file; None if it is not what its name says, or gone."""
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != path.stem:
            return None
        mapped: AnyArray = np.load(path, mmap_mode="r", allow_pickle=False)
    except (FileNotFoundError, ValueError):
        return None
    return mapped
