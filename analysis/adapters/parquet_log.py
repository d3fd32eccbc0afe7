"""The event log's Parquet files, from rows of Postgres."""

import contextlib
import functools
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import date
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from shared.event_files import SCHEMA, VERSION, VERSION_KEY, EventFiles, remote_faults

ROWS_PER_GROUP = 131_072
_INCOMING = "_incoming"


def count_exported(files: EventFiles, day: date) -> int | None:
    """Return how many events a day's file has; None if it must be made anew."""
    with files.open(day) as file, remote_faults():
        try:
            metadata = pq.read_metadata(file)
        except pa.ArrowInvalid:
            return None  # not of Parquet
    is_current = (metadata.metadata or {}).get(VERSION_KEY) == VERSION
    return int(metadata.num_rows) if is_current else None


async def write_day(
    files: EventFiles, day: date, batches: AsyncIterator[Sequence[Sequence[Any]]]
) -> int:
    """Write a day's file, in place of the one that is there; return its number of events.

    It is written beside the days and then moved to its place: whoever reads sees the old file or
    the new one, and an export that was killed leaves the old one.

    Args:
        files: Of the log.
        day: Whose events these are.
        batches: Rows with the columns of `SCHEMA`, in their order.

    Raises:
        OSError: If it cannot be written.
    """
    n_events = 0
    with _replacing(files, day) as file, pq.ParquetWriter(file, SCHEMA, compression="zstd") as out:
        waiting: list[pa.RecordBatch] = []
        async for rows in batches:
            waiting.append(_to_batch(rows))
            n_events += len(rows)
            if sum(len(batch) for batch in waiting) >= ROWS_PER_GROUP:
                out.write_table(pa.Table.from_batches(waiting))
                waiting.clear()
        if waiting:
            out.write_table(pa.Table.from_batches(waiting))
    return n_events


@contextlib.contextmanager
def _replacing(files: EventFiles, day: date) -> Iterator[Any]:
    filesystem, target = files.filesystem, files.path_of(day)
    folder = f"{files.root.rstrip('/')}/{_INCOMING}"
    incoming = f"{folder}/{day.isoformat()}.parquet"  # what a killed export left is overwritten
    with remote_faults():
        filesystem.makedirs(folder, exist_ok=True)
        with filesystem.open(incoming, "wb") as file:
            yield file
        filesystem.makedirs(target.rpartition("/")[0], exist_ok=True)
        filesystem.mv(incoming, target)


def _to_batch(rows: Sequence[Sequence[Any]]) -> pa.RecordBatch:
    columns = dict(zip(SCHEMA.names, zip(*rows, strict=True), strict=True))
    columns["experiments"] = tuple(map(_parse_experiments, columns["experiments"]))
    arrays = [
        _to_array(columns[field.name], field.type)  # pa.array cannot make extension types itself
        for field in SCHEMA
    ]
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def _to_array(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    if isinstance(kind, pa.BaseExtensionType):
        return kind.wrap_array(pa.array(values, kind.storage_type))
    return pa.array(values, kind)


@functools.lru_cache(maxsize=4096)
def _parse_experiments(text: str) -> list[tuple[str, str]]:
    return list(msgspec.json.decode(text, type=dict[str, str]).items())
