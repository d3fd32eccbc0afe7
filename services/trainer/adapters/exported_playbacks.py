"""Playbacks from the exported event log: Parquet files by day, wherever fsspec reads."""

import contextlib
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.parquet as pq

from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import PLAYBACK
from shared.event_files import VERSION, VERSION_KEY, EventFiles, remote_faults

ROWS_AT_ONCE = 262_144
COLUMNS = {"position": "position", "user": "user_id", "track": "track_id", "time": "time"}
TIMES = ("occurred_at", "stored_at")

Rows = npt.NDArray[Any]


class ExportedPlaybacks:
    """The playbacks of an exported log; what it holds changes only with another export."""

    def __init__(self, url: str) -> None:
        """Take the root of the files.

        Raises:
            TrainingError: If nothing can read such a URL.
        """
        self._url = url
        try:
            self._files = EventFiles(url)
        except (ValueError, ImportError) as error:
            raise TrainingError(f"{url}: {error}") from error

    async def read_watermark(self) -> datetime:
        """Return when the last event that the files hold was stored.

        Raises:
            TrainingError: If there are no files, or one cannot be read.
        """
        # From the statistics of the last column.
        with self._reading():
            latest = [
                file.metadata.row_group(i).column(file.metadata.num_columns - 1).statistics.max
                for file in self._open(None, None)
                for i in range(file.metadata.num_row_groups)
            ]
        if not latest:
            raise TrainingError(f"{self._url} holds no exported events")
        watermark: datetime = max(latest)
        return watermark

    async def read(
        self, *, since: datetime | None, until: datetime | None, watermark: datetime
    ) -> Rows:
        """Read the playbacks of a window; see `read_playbacks`.

        Raises:
            TrainingError: If a file cannot be read.
        """
        columns = [*COLUMNS.values(), "session_id"]
        batches = self._batches(columns, since=since, until=until, watermark=watermark)
        with self._reading():
            parts = [_convert(batch) for batch in batches]
        return np.concatenate(parts) if parts else np.empty(0, PLAYBACK)

    async def count_sessions(
        self, *, since: datetime, until: datetime | None, watermark: datetime
    ) -> int:
        """Count the sessions that began in a window and were stored by the watermark.

        Raises:
            TrainingError: If a file cannot be read.
        """
        batches = self._batches(["position"], since=since, until=until, watermark=watermark)
        with self._reading():
            return sum(int((_numbers(batch, "position") == 0).sum()) for batch in batches)

    def _batches(
        self,
        columns: list[str],
        *,
        since: datetime | None,
        until: datetime | None,
        watermark: datetime,
    ) -> Iterator[pa.RecordBatch]:
        for file in self._open(since, until):
            for batch in file.iter_batches(ROWS_AT_ONCE, columns=[*columns, *TIMES]):
                at, stored_at = (_numbers(batch, name) for name in TIMES)
                kept = stored_at <= _microseconds(watermark)
                if since is not None:
                    kept &= at * 1000 >= _microseconds(since)
                if until is not None:
                    kept &= at * 1000 < _microseconds(until)
                yield batch if kept.all() else batch.filter(pa.array(kept))

    def _open(self, since: datetime | None, until: datetime | None) -> Iterator[pq.ParquetFile]:
        """Open the files of the days that a window touches, one after the other."""
        for day in self._files.days():
            if _is_outside(day, since, until):
                continue
            with self._files.open(day) as raw, pq.ParquetFile(raw) as file:
                if (file.metadata.metadata or {}).get(VERSION_KEY) != VERSION:
                    raise TrainingError(f"{self._url}: {day} is no export of this version")
                yield file

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Say of what cannot be read, at its beginning or in its middle, where it is."""
        try:
            with remote_faults():
                yield
        except (OSError, pa.ArrowException) as error:
            raise TrainingError(f"{self._url}: {error}") from error


def _is_outside(day: date, since: datetime | None, until: datetime | None) -> bool:
    return (since is not None and day < since.astimezone(UTC).date()) or (
        until is not None and day > until.astimezone(UTC).date()
    )


def _numbers(batch: pa.RecordBatch, name: str) -> npt.NDArray[Any]:
    column = batch.column(name)
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.int64())
    numbers: npt.NDArray[Any] = column.to_numpy()
    return numbers


def _convert(batch: pa.RecordBatch) -> Rows:
    playbacks = np.empty(len(batch), PLAYBACK)
    for name, column in COLUMNS.items():
        playbacks[name] = _numbers(batch, column)
    playbacks["at"] = _numbers(batch, "occurred_at") * 1000
    session = batch.column("session_id").storage
    halves = np.frombuffer(session.buffers()[1], ">i8").reshape(-1, 2)
    halves = halves[session.offset : session.offset + len(session)]
    playbacks["session_high"], playbacks["session_low"] = halves[:, 0], halves[:, 1]
    return playbacks


def _microseconds(at: datetime) -> int:
    whole = at.replace(microsecond=0)
    return int(whole.timestamp()) * 1_000_000 + at.microsecond
