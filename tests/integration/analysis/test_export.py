"""`python -m analysis export`: the log as files, against a real Postgres."""

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import fsspec
import pyarrow.parquet as pq
import pytest

from analysis.__main__ import main
from analysis.adapters.event_log import ROWS_AT_ONCE, stream_events
from analysis.adapters.parquet_log import write_day
from deploy.local.servers import PostgresServer
from shared.event_files import SCHEMA, EventFiles
from tests.integration.analysis.log import START, connect, insert, make_known_log, make_session

NEXT_DAY = START + timedelta(days=1)


@pytest.fixture
def memory() -> Iterator[str]:
    """Return the URL of an empty folder in memory."""
    filesystem: Any = fsspec.filesystem("memory")
    yield "memory://log"
    filesystem.rm("/log", recursive=True)


async def export(database: PostgresServer, to: str, *words: str) -> int:
    arguments = ["export", "--format", "parquet", "--to", to, "--dsn", database.dsn, *words]
    return await asyncio.to_thread(main, arguments)


def read(url: str, day: datetime) -> list[dict[str, Any]]:
    with EventFiles(url).open(day.date()) as file:
        table = pq.read_table(file)
    assert table.schema.equals(SCHEMA)
    rows: list[dict[str, Any]] = table.to_pylist()
    return rows


def paths_below(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


async def test_every_column_of_every_event_is_exported(
    known_log: PostgresServer, memory: str
) -> None:
    assert await export(known_log, memory) == 0
    async with connect(known_log.dsn) as connection:
        stored = await connection.fetch("SELECT * FROM events ORDER BY event_id")
    rows = read(memory, START)
    assert len(rows) == len(make_known_log())
    assert rows == [
        {name: value for name, value in row.items() if name != "stored_in"}  # of this database
        | {"experiments": list(json.loads(row["experiments"]).items())}
        for row in stored
    ]


async def test_days_are_files_that_grow_only_with_their_events(
    known_log: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    at_midnight = datetime(2026, 3, 12, tzinfo=UTC)
    async with connect(known_log.dsn) as connection:
        await insert(connection, make_session(8, [1.0, 0.2], experiments={}, at=NEXT_DAY))
        await insert(connection, make_session(9, [1.0], experiments={}, at=at_midnight))
    assert await export(known_log, str(tmp_path)) == 0
    assert paths_below(tmp_path) == [f"date=2026-03-{day}/events.parquet" for day in (10, 11, 12)]
    assert len(read(str(tmp_path), NEXT_DAY)) == 2
    assert "wrote 21 events of 3 days; 0 days were there" in capsys.readouterr().out
    untouched = (tmp_path / "date=2026-03-10/events.parquet").stat()
    async with connect(known_log.dsn) as connection:  # late
        await insert(connection, make_session(10, [1.0], experiments={}, at=NEXT_DAY))
    assert await export(known_log, str(tmp_path)) == 0
    assert "wrote 3 events of 1 days; 2 days were there" in capsys.readouterr().out
    assert len(read(str(tmp_path), NEXT_DAY)) == 3
    after = (tmp_path / "date=2026-03-10/events.parquet").stat()
    assert (after.st_ino, after.st_mtime_ns) == (untouched.st_ino, untouched.st_mtime_ns)


async def test_an_export_that_is_killed_leaves_the_old_file_and_is_made_good(
    known_log: PostgresServer, memory: str
) -> None:
    assert await export(known_log, memory) == 0
    before = read(memory, START)

    async def broken() -> AsyncIterator[Sequence[Any]]:
        async with connect(known_log.dsn) as connection, connection.transaction():
            async for rows in stream_events(connection, START.date()):
                yield rows[:2]
                raise ConnectionResetError("the database is gone")

    with pytest.raises(ConnectionResetError):
        await write_day(EventFiles(memory), START.date(), broken())
    assert read(memory, START) == before
    with pytest.raises(ConnectionResetError):
        await write_day(EventFiles(memory), NEXT_DAY.date(), broken())
    assert EventFiles(memory).days() == [START.date()]
    async with connect(known_log.dsn) as connection:
        await insert(connection, make_session(8, [1.0], experiments={}, at=NEXT_DAY))
    assert await export(known_log, memory) == 0
    assert len(read(memory, NEXT_DAY)) == 1


async def test_a_file_that_is_none_of_ours_is_written_again(
    known_log: PostgresServer, tmp_path: Path
) -> None:
    path = tmp_path / "date=2026-03-10/events.parquet"
    path.parent.mkdir()
    path.write_bytes(b"cut short")
    assert await export(known_log, str(tmp_path)) == 0
    whole = read(str(tmp_path), START)
    pq.write_table(pq.read_table(path).replace_schema_metadata({}), path)  # as of another version
    assert await export(known_log, str(tmp_path)) == 0
    assert read(str(tmp_path), START) == whole


async def test_a_day_is_streamed_in_parts(database: PostgresServer, memory: str) -> None:
    async with connect(database.dsn) as connection:
        sessions = (
            row
            for user in range(ROWS_AT_ONCE // 50 + 1)
            for row in make_session(user, [1.0] * 50, experiments={"A": "C"})
        )
        await insert(connection, sessions)
        async with connection.transaction():
            sizes = [len(rows) async for rows in stream_events(connection, START.date())]
    assert sizes == [ROWS_AT_ONCE, 50]
    assert await export(database, memory) == 0
    assert len(read(memory, START)) == ROWS_AT_ONCE + 50


async def test_only_the_days_of_a_window_are_exported(
    known_log: PostgresServer, memory: str
) -> None:
    async with connect(known_log.dsn) as connection:
        await insert(connection, make_session(8, [1.0], experiments={}, at=NEXT_DAY))
    assert await export(known_log, memory, "--since", "2026-03-11", "--until", "2026-03-12") == 0
    assert EventFiles(memory).days() == [NEXT_DAY.date()]


async def test_a_share_of_the_listeners_is_drawn_as_wholes(
    database: PostgresServer, memory: str
) -> None:
    async with connect(database.dsn) as connection:
        rows = [row for user in range(400) for row in make_session(user, [1.0] * 3, experiments={})]
        await insert(connection, rows)
    assert await export(database, memory, "--share", "0.25") == 0
    quarter = Counter(row["user_id"] for row in read(memory, START))
    assert 60 < len(quarter) < 140
    assert set(quarter.values()) == {3}
    assert await export(database, memory, "--share", "0.5") == 0
    half = {row["user_id"] for row in read(memory, START)}
    assert set(quarter) < half < set(range(400))


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (["--since", "2026-03-10T12:00"], "files are of whole days"),
        (["--to", "nowhere://log"], "nowhere"),
        (["--share", "2"], "'2' is not between 0 and 1"),
    ],
)
async def test_what_cannot_be_exported_is_said(
    words: list[str], fault: str, database: PostgresServer, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code = await export(database, "memory://log", *words)
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert fault in capsys.readouterr().err


async def test_a_folder_that_cannot_be_written_is_said(
    known_log: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("no folder")
    assert await export(known_log, str(tmp_path / "file")) == 1
    assert "file" in capsys.readouterr().err
