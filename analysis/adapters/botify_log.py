"""botify's log on disk, and out of Postgres."""

import contextlib
import gzip
import mmap
import os
import sys
import tempfile
import zlib
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, cast

import asyncpg
import msgspec

from analysis.adapters.exposures import ALWAYS, FOREVER
from analysis.core.botify_log import Line

ROWS_AT_ONCE = 10_000
STANDARD = "-"

# Event ids begin with their millisecond. A real is written with its own few digits, not with those
# that it has as a double.
EVENTS = """
SELECT message, occurred_at, user_id, track_id, time, latency::text::float8 AS latency,
       recommendation, experiments::text AS experiments
FROM events
WHERE occurred_at >= $1 AND occurred_at < $2
  AND ($3::float8 = 1 OR abs(hashint4(user_id)::bigint) < $3 * 2147483648)
ORDER BY event_id
"""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


async def stream_lines(
    connection: asyncpg.Connection,
    *,
    since: datetime | None,
    until: datetime | None,
    share: float = 1.0,
) -> AsyncIterator[list[Line]]:
    """Yield the events of since <= time < until as botify's lines, in order, some at a time.

    `share` is as in `count_events_by_day`.
    """
    cursor: Any = await connection.cursor(EVENTS, since or ALWAYS, until or FOREVER, share)
    while rows := await cursor.fetch(ROWS_AT_ONCE):
        yield [_make_line(row) for row in rows]


def _make_line(row: asyncpg.Record) -> Line:
    return Line(
        message=row["message"],
        timestamp=round((row["occurred_at"] - _EPOCH).total_seconds() * 1000),
        user=row["user_id"],
        track=row["track_id"],
        time=row["time"],
        latency=row["latency"],
        recommendation=row["recommendation"],
        experiments=msgspec.json.decode(row["experiments"]),
    )


@contextlib.contextmanager
def open_output(name: str) -> Iterator[BinaryIO]:
    """Open a file to write, compressed if it ends with `.gz`; `-` is the standard output.

    The file is there when all of it is, or not at all: another of its name stays until then.

    Raises:
        OSError: If it cannot be written.
    """
    if name == STANDARD:
        yield sys.stdout.buffer
        return
    path = Path(name)
    try:
        descriptor, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    except OSError as error:
        raise OSError(error.errno, error.strerror, name) from error
    try:
        with os.fdopen(descriptor, "wb") as plain:
            if path.suffix == ".gz":
                with gzip.open(plain, "wb", compresslevel=6) as packed:
                    yield cast("BinaryIO", packed)
            else:
                yield plain
            plain.flush()
            os.fsync(plain.fileno())
        Path(part).chmod(0o644)
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_input(name: str) -> Iterator[bytes]:
    """Open a file to read as a whole, `.gz` decompressed; `-` is the standard input.

    A plain file is mapped, so that it need not fit into memory.

    Raises:
        OSError: If it cannot be read.
    """
    if name == STANDARD:
        yield sys.stdin.buffer.read()
        return
    path = Path(name)
    if path.suffix == ".gz":
        try:
            yield gzip.decompress(path.read_bytes())
        except EOFError as error:
            raise OSError(0, "the gzip file is cut short", name) from error
        except zlib.error as error:
            raise OSError(0, f"the gzip file is damaged: {error}", name) from error
        return
    with path.open("rb") as file:
        if not os.fstat(file.fileno()).st_size:
            yield b""
            return
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            # It finds and slices as bytes do.
            yield cast("bytes", mapped)
