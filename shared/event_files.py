"""The event log as files: a Parquet file per day, which the analysis exports and the trainer reads.

    ROOT/date=2026-03-10/events.parquet

ROOT is anything that fsspec opens: a folder, `s3://bucket/prefix`, `gs://`, `memory://`. A file
appears whole or not at all, in the order of its events' ids and hence of time.
"""

import contextlib
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

import fsspec
import pyarrow as pa

# Changed whenever a column is: files of another version are written again by an export.
VERSION = b"1"
VERSION_KEY = b"segue.event_files"

SCHEMA = pa.schema(
    [
        pa.field("event_id", pa.uuid(), nullable=False),
        pa.field("message", pa.string(), nullable=False),
        pa.field("occurred_at", pa.timestamp("ms", tz="UTC"), nullable=False),
        pa.field("user_id", pa.int32(), nullable=False),
        pa.field("session_id", pa.uuid(), nullable=False),
        pa.field("position", pa.int32(), nullable=False),
        pa.field("track_id", pa.int32(), nullable=False),
        pa.field("time", pa.float64(), nullable=False),
        pa.field("latency", pa.float32(), nullable=False),
        pa.field("recommendation", pa.int32()),
        pa.field("recommender", pa.string()),
        pa.field("model_version", pa.string()),
        pa.field("propensity", pa.float64()),
        pa.field("fallback", pa.string()),
        pa.field("experiments", pa.map_(pa.string(), pa.string()), nullable=False),
        pa.field("stored_at", pa.timestamp("us", tz="UTC"), nullable=False),
    ],
    metadata={VERSION_KEY: VERSION},
)
"""The columns of the table `events`, with types that no file departs from."""

# Whose own errors fsspec lets through where its interface has an OSError.
_LIBRARIES = ("aiohttp", "azure", "botocore", "gcsfs", "google")

_FILE = "events.parquet"
_DAY = "date="


class EventFiles:
    """The files of a log under one root."""

    def __init__(self, url: str) -> None:
        """Take the root; nothing is read yet.

        Raises:
            ValueError: If the URL's protocol is unknown.
            ImportError: If its file system needs a package that is absent.
        """
        self.filesystem: Any
        self.root: str
        self.filesystem, self.root = fsspec.core.url_to_fs(url)

    def path_of(self, day: date) -> str:
        """Return where a day's file is."""
        return f"{self.root.rstrip('/')}/{_DAY}{day.isoformat()}/{_FILE}"

    def days(self) -> list[date]:
        """List the days that have a file, in order."""
        with remote_faults():
            self.filesystem.invalidate_cache()
            found = self.filesystem.glob(f"{self.root.rstrip('/')}/{_DAY}*/{_FILE}")
        return sorted(_days_in(found))

    def open(self, day: date) -> Any:
        """Open a day's file for reading; what reads it does so within `remote_faults`."""
        with remote_faults():
            return self.filesystem.open(self.path_of(day), "rb")


@contextlib.contextmanager
def remote_faults() -> Iterator[None]:
    """Make an OSError of what a store's library says: no credentials, nobody at its address."""
    try:
        yield
    except Exception as error:
        if type(error).__module__.partition(".")[0] not in _LIBRARIES:
            raise
        raise OSError(f"{type(error).__name__}: {error}") from error


def _days_in(paths: Iterable[str]) -> Iterable[date]:
    for path in paths:
        name = path.split("/")[-2].removeprefix(_DAY)
        try:
            yield date.fromisoformat(name)
        except ValueError:
            continue  # nothing of ours
