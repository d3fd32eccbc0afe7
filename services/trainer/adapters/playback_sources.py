"""Where a training reads its log: Postgres, or an exported log's files."""

import os
import re
from collections.abc import Iterable
from datetime import datetime
from typing import Any, Protocol

import numpy.typing as npt

from services.trainer.adapters.playback_reader import (
    count_sessions,
    read_playbacks,
    read_watermark,
)
from services.trainer.adapters.postgres import open_connection
from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import POSTGRES
from shared.extras import MissingExtraError, import_extra

# Nothing that a file system would read as another place: no escapes, queries or chains of systems.
PLAIN_URL = re.compile(r"(?:([a-z0-9]+)://)?([\w./:@=+ -]*)")


class SourceNotAllowedError(ValueError):
    """A source that is below none of the roots that the settings allow."""


class PlaybackSource(Protocol):
    """What a training asks of its log."""

    async def read_watermark(self) -> datetime:
        """Return a moment: what was stored until then is read, again too."""

    async def read(
        self, *, since: datetime | None, until: datetime | None, watermark: datetime
    ) -> npt.NDArray[Any]:
        """Read the playbacks of a half-open window, of dtype `PLAYBACK`, in any order."""

    async def count_sessions(
        self, *, since: datetime, until: datetime | None, watermark: datetime
    ) -> int:
        """Count the sessions that began in a window and were stored by the watermark."""


class PostgresPlaybacks:
    """The log where the logger writes it."""

    def __init__(self, dsn: str) -> None:
        """Take the database; every call connects anew."""
        self._dsn = dsn

    async def read_watermark(self) -> datetime:
        """Return the database's time."""
        async with open_connection(self._dsn) as connection:
            return await read_watermark(connection)

    async def read(
        self, *, since: datetime | None, until: datetime | None, watermark: datetime
    ) -> npt.NDArray[Any]:
        """Read the playbacks of a window; see `read_playbacks`."""
        async with open_connection(self._dsn) as connection:
            return await read_playbacks(connection, since=since, until=until, watermark=watermark)

    async def count_sessions(
        self, *, since: datetime, until: datetime | None, watermark: datetime
    ) -> int:
        """Count the sessions that began in a window and were stored by the watermark."""
        async with open_connection(self._dsn) as connection:
            return await count_sessions(connection, since=since, until=until, watermark=watermark)


def open_source(source: str, *, postgres_dsn: str) -> PlaybackSource:
    """Return the log that a training's parameters name.

    Raises:
        TrainingError: If nothing can read it.
    """
    return PostgresPlaybacks(postgres_dsn) if source == POSTGRES else open_files(source)


def open_files(url: str) -> PlaybackSource:
    """Return an exported log.

    Raises:
        TrainingError: If nothing can read such a URL.
    """
    try:
        for module in ("pyarrow", "fsspec"):
            import_extra(module, extra="parquet", purpose="an exported log")
    except MissingExtraError as error:
        raise TrainingError(str(error)) from error
    from services.trainer.adapters.exported_playbacks import ExportedPlaybacks

    return ExportedPlaybacks(url)


def check_source(source: str, roots: Iterable[str]) -> None:
    """See that a source is Postgres, or one of the roots or below one.

    Raises:
        SourceNotAllowedError: If it is not.
    """
    if source == POSTGRES:
        return
    scheme, place = _locate(source)
    for root in roots:
        root_scheme, root_place = _locate(root)
        if scheme == root_scheme and place[: len(root_place)] == root_place:
            return
    raise SourceNotAllowedError(f"{source} is below none of SEGUE_TRAINER_SOURCES")


def _locate(url: str) -> tuple[str, list[str]]:
    """Return the file system and the steps to the place; links of this machine are followed."""
    found = PLAIN_URL.fullmatch(url)
    if found is None or ".." in url.split("/") or "::" in url:
        raise SourceNotAllowedError(f"{url} is no plain path or URL")
    scheme, path = found[1] or "file", found[2]
    if scheme == "local":
        scheme = "file"
    if scheme == "file":
        path = os.path.realpath(path)
    return scheme, [step for step in path.split("/") if step]
