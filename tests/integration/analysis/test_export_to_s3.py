"""The log as files in S3: exported there and trained on from there, over its real protocol."""

import socket
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import fsspec
import numpy as np
import pytest

from deploy.local.servers import PostgresServer
from services.trainer.adapters.exported_playbacks import ExportedPlaybacks
from services.trainer.adapters.playback_sources import PostgresPlaybacks
from services.trainer.core.errors import TrainingError
from tests.integration.analysis.log import START, connect, insert, make_session
from tests.integration.analysis.test_export import export, read

pytest.importorskip("s3fs", reason="s3fs is not here: S3 cannot be reached (extra s3)")
moto = pytest.importorskip("moto.server", reason="moto is not here: there is no S3 (extra dev)")

NEXT_DAY = START + timedelta(days=1)
URL = "s3://log/events"


@pytest.fixture
def lead_to(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Return what leads every client of S3 in this process to an address."""
    filesystem: Any = fsspec.get_filesystem_class("s3")

    def lead(url: str) -> None:
        settings = {"ENDPOINT_URL": url, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test"}
        for name, value in (settings | {"MAX_ATTEMPTS": "1"}).items():
            monkeypatch.setenv(f"AWS_{name}", value)
        filesystem.clear_instance_cache()  # they keep the address that they were made with

    yield lead
    filesystem.clear_instance_cache()


@pytest.fixture
def s3(lead_to: Callable[[str], None]) -> Iterator[Any]:
    """Run an S3 with an empty bucket."""
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    lead_to(f"http://{host}:{port}")
    s3: Any = fsspec.filesystem("s3")
    s3.mkdir("log")
    yield s3
    server.stop()


async def test_the_log_is_exported_to_s3_and_trained_on_from_there(
    known_log: PostgresServer, s3: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    async with connect(known_log.dsn) as connection:
        await insert(connection, make_session(8, [1.0, 0.2], experiments={}, at=NEXT_DAY))
    assert await export(known_log, URL) == 0
    assert sorted(s3.find("log")) == [
        f"log/events/date=2026-03-{day}/events.parquet" for day in (10, 11)
    ]
    async with connect(known_log.dsn) as connection:
        await insert(connection, make_session(9, [0.5], experiments={}, at=NEXT_DAY))
    assert await export(known_log, URL) == 0
    assert "wrote 3 events of 1 days; 1 days were there" in capsys.readouterr().out
    assert len(read(URL, NEXT_DAY)) == 3

    exported = ExportedPlaybacks(URL)
    watermark = await exported.read_watermark()
    there = await exported.read(since=None, until=None, watermark=watermark)
    stored = await PostgresPlaybacks(known_log.dsn).read(
        since=None, until=None, watermark=watermark
    )
    order = ["at", "user", "position"]
    assert np.array_equal(np.sort(there, order=order), np.sort(stored, order=order))
    assert await exported.count_sessions(since=NEXT_DAY, until=None, watermark=watermark) == 2


async def test_an_s3_that_cannot_be_reached_is_said(
    known_log: PostgresServer,
    lead_to: Callable[[str], None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        lead_to(f"http://127.0.0.1:{nobody.getsockname()[1]}")
        assert await export(known_log, URL) == 1
        assert "Could not connect to the endpoint" in capsys.readouterr().err
        with pytest.raises(TrainingError, match=r"s3://log/events: .*connect"):
            await ExportedPlaybacks(URL).read_watermark()
