"""Playbacks come out of Postgres, and out of its exported files, as they went in."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from deploy.local.servers import PostgresServer
from services.trainer.adapters.playback_sources import PlaybackSource, open_source
from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import POSTGRES
from services.trainer.core.playbacks import PLAYBACK, make_log
from shared.event_files import EventFiles
from tests.integration.trainer.stack import export_events, store_playbacks
from tests.unit.trainer.logs import make_block_playbacks, make_blocks

START = datetime.fromtimestamp(1_700_000_000, UTC)


class Log:
    """A log that is written in Postgres and read from one of its sources."""

    def __init__(self, dsn: str, url: str) -> None:
        self._dsn, self._url = dsn, url
        self.source: PlaybackSource = open_source(url, postgres_dsn=dsn)

    async def store(self, playbacks: npt.NDArray[Any]) -> None:
        await store_playbacks(self._dsn, playbacks)
        if self._url != POSTGRES:
            await export_events(self._dsn, self._url)

    async def read(self, **window: datetime | None) -> npt.NDArray[Any]:
        watermark = await self.source.read_watermark()
        options: Any = {"since": None, "until": None, "watermark": watermark} | window
        return await self.source.read(**options)


@pytest.fixture(params=["postgres", "files"])
def log(request: pytest.FixtureRequest, database: PostgresServer, tmp_path: Path) -> Log:
    """Return an empty log, read from either source."""
    return Log(database.dsn, POSTGRES if request.param == "postgres" else str(tmp_path))


async def test_every_column_survives(log: Log) -> None:
    stored = make_block_playbacks(make_blocks(), n_sessions=300)
    await log.store(stored)
    found = await log.read()
    assert found.dtype == PLAYBACK
    order = ["session_high", "session_low", "position"]
    assert np.array_equal(np.sort(found, order=order), np.sort(stored, order=order))


async def test_the_window_is_half_open(log: Log) -> None:
    await log.store(make_block_playbacks(make_blocks(), n_sessions=10))
    middle = START + timedelta(minutes=4)  # when the fifth session starts
    before, after = await log.read(until=middle), await log.read(since=middle)
    assert make_log(before).n_sessions == 4
    assert make_log(after).n_sessions == 6
    assert after["at"].min() == 1_700_000_240_000_000


async def test_what_is_stored_after_the_watermark_is_not_read(log: Log) -> None:
    catalog = make_blocks()
    await log.store(make_block_playbacks(catalog, n_sessions=10))
    watermark = await log.source.read_watermark()
    await log.store(make_block_playbacks(catalog, n_sessions=7, seed=1))
    assert make_log(await log.read(watermark=watermark)).n_sessions == 10
    assert make_log(await log.read()).n_sessions == 17


async def test_sessions_are_counted_by_their_beginnings(log: Log) -> None:
    await log.store(make_block_playbacks(make_blocks(), n_sessions=10))
    watermark = await log.source.read_watermark()

    async def count(since: datetime, until: datetime | None) -> int:
        return await log.source.count_sessions(since=since, until=until, watermark=watermark)

    assert await count(START, None) == 10
    assert await count(START + timedelta(minutes=3, seconds=1), None) == 6
    assert await count(START, START + timedelta(minutes=4)) == 4
    assert await count(START - timedelta(days=3), START - timedelta(days=1)) == 0


async def test_no_rows_are_an_empty_array(database: PostgresServer) -> None:
    assert len(await Log(database.dsn, POSTGRES).read()) == 0


async def test_files_of_several_days_are_one_log(database: PostgresServer, tmp_path: Path) -> None:
    log, catalog = Log(database.dsn, str(tmp_path)), make_blocks()
    one, other = (make_block_playbacks(catalog, n_sessions=5, seed=seed) for seed in (0, 1))
    other["at"] += 86_400_000_000
    await log.store(np.concatenate([one, other]))
    assert len(EventFiles(str(tmp_path)).days()) == 2
    assert make_log(await log.read()).n_sessions == 10
    assert make_log(await log.read(since=START + timedelta(hours=20))).n_sessions == 5


def damage(folder: Path) -> None:
    (path,) = folder.glob("date=*/events.parquet")
    path.write_bytes(path.read_bytes()[:-100])


def damage_the_middle(folder: Path) -> None:
    (path,) = folder.glob("date=*/events.parquet")
    content = path.read_bytes()
    path.write_bytes(content[:4] + bytes(len(content) // 2) + content[4 + len(content) // 2 :])


def empty(folder: Path) -> None:
    for path in folder.glob("date=*/events.parquet"):
        path.unlink()


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [(damage, "[Pp]arquet"), (damage_the_middle, "deserialize"), (empty, "no exported events")],
)
async def test_files_that_cannot_be_read_are_named(
    spoil: Callable[[Path], None], fault: str, database: PostgresServer, tmp_path: Path
) -> None:
    log = Log(database.dsn, str(tmp_path))
    await log.store(make_block_playbacks(make_blocks(), n_sessions=5))
    spoil(tmp_path)
    with pytest.raises(TrainingError, match=fault) as caught:
        await log.read()
    assert str(tmp_path) in str(caught.value)
