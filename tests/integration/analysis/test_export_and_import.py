"""botify's log out of Postgres and back, and the numbers that its notebook makes of it."""

import asyncio
import contextlib
import gzip
import io
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pandas as pd
import pytest
import uvicorn
from redis.asyncio import Redis

from analysis.__main__ import main
from analysis.adapters.measurements import fetch_measurements, open_database
from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.app import create_app
from services.logger.settings import Settings
from tests.conftest import EMPTY_EVERY_TABLE, free_port
from tests.integration.analysis.log import START, connect, insert, make_known_log, make_session
from tests.unit.logger.factories import fetch_all, fetch_value

KEYS = [
    *("message", "timestamp", "user", "track", "time", "latency"),
    *("recommendation", "experiments"),
]
EVENTS = "SELECT count(*) FROM events"


@pytest.fixture
def logger_url(database: PostgresServer, valkey: ValkeyServer, redis: Redis) -> Iterator[str]:
    """Run the real logger on a port of its own."""
    settings = Settings(
        redis_url=valkey.url, postgres_dsn=database.dsn, port=free_port(), log_level="ERROR"
    )
    config = uvicorn.Config(
        create_app(settings), host="127.0.0.1", port=settings.port, log_config=None
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        until = time.monotonic() + 30
        while not server.started:
            assert thread.is_alive()
            assert time.monotonic() < until
            time.sleep(0.01)
        yield f"http://127.0.0.1:{settings.port}"
    finally:
        server.should_exit = True
        thread.join()


async def run(*words: str) -> int:
    """Run the command line in a thread: it brings its own event loop."""
    with contextlib.suppress(SystemExit):
        return await asyncio.to_thread(main, words)
    return 2


async def export(database: PostgresServer, target: Path | str, *words: str) -> int:
    return await run(
        "export", "--format", "botify", "--to", str(target), "--dsn", database.dsn, *words
    )


async def test_the_export_has_botifys_keys_in_order_of_time(
    known_log: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.json"
    assert await export(known_log, path) == 0
    n_events = len(make_known_log())
    assert capsys.readouterr().out == f"{path}: wrote {n_events} events\n"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert len(lines) == n_events
    assert all(list(line) == KEYS for line in lines)
    assert [line["timestamp"] for line in lines] == sorted(line["timestamp"] for line in lines)
    first = next(line for line in lines if line["user"] == 1)
    assert first == {
        "message": "next",
        "timestamp": int(START.timestamp() * 1000),
        "user": 1,
        "track": 0,
        "time": 1.0,
        "latency": 0.004,
        "recommendation": 1,
        "experiments": {"RECOMMENDERS": "C", "AA": "C"},
    }
    assert {line["recommendation"] for line in lines if line["message"] == "last"} == {None}


async def test_an_export_goes_to_a_gzip_or_the_standard_output_within_times(
    known_log: PostgresServer, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    assert await export(known_log, "-") == 0
    output = capfdbinary.readouterr()
    assert output.err == b"-: wrote %d events\n" % len(make_known_log())
    assert await export(known_log, tmp_path / "data.json.gz") == 0
    assert gzip.decompress((tmp_path / "data.json.gz").read_bytes()) == output.out
    assert await export(known_log, tmp_path / "late.json", "--since", "2026-03-10T13:00") == 0
    late = (tmp_path / "late.json").read_bytes().splitlines()
    assert 0 < len(late) < len(make_known_log())


async def test_a_share_of_the_listeners_is_exported_as_wholes(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with connect(database.dsn) as connection:
        rows = [row for user in range(400) for row in make_session(user, [1.0] * 3, experiments={})]
        await insert(connection, rows)
    assert await export(database, tmp_path / "some.json", "--share", "0.25") == 0
    lines = (tmp_path / "some.json").read_bytes().splitlines()
    users = Counter(json.loads(line)["user"] for line in lines)
    assert 60 < len(users) < 140
    assert set(users.values()) == {3}


async def test_a_failed_export_leaves_what_was_there(
    known_log: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.json"
    path.write_text("mine")
    async with connect(known_log.dsn) as connection:
        await connection.execute("ALTER TABLE events RENAME TO elsewhere")
        try:
            assert await export(known_log, path) == 1
        finally:
            await connection.execute("ALTER TABLE elsewhere RENAME TO events")
    assert path.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [path]  # noqa: ASYNC240 - a look is no work
    absent = tmp_path / "no" / "data.json"
    capsys.readouterr()
    assert await export(known_log, absent) == 1
    assert capsys.readouterr().err == f"analysis: {absent}: No such file or directory\n"


async def test_a_reader_of_an_export_that_has_seen_enough_gets_no_fault(
    known_log: PostgresServer,
) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    words = ("export", "--format", "botify", "--to", "-", "--dsn", known_log.dsn)
    result = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "analysis", *words],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    os.close(theirs)
    assert result.returncode == 0
    assert "fail" not in result.stderr
    assert "Broken" not in result.stderr


async def test_a_file_is_imported_once_however_often_it_comes(
    logger_url: str,
    database: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with connect(database.dsn) as connection:
        await insert(connection, make_known_log())
        await export(database, tmp_path / "data.json")
        await connection.execute(EMPTY_EVERY_TABLE)
    n_events = len(make_known_log())
    capsys.readouterr()
    words = ("import", str(tmp_path / "data.json"), "--logger", logger_url)
    for stored in (n_events, 0):
        assert await run(*words) == 0
        assert capsys.readouterr().out == (
            f"{tmp_path / 'data.json'}: stored {stored} events; {n_events - stored} were there; "
            "0 lines are no events\n"
        )
    assert await fetch_value(database.dsn, EVENTS) == n_events
    await export(database, tmp_path / "again.json")
    assert sorted((tmp_path / "again.json").read_bytes().splitlines()) == sorted(
        (tmp_path / "data.json").read_bytes().splitlines()
    )
    sessions = await fetch_all(
        database.dsn, "SELECT user_id, n_tracks, is_finished FROM sessions ORDER BY 1, 2"
    )
    assert [tuple(row) for row in sessions] == [
        *((1, 1, True), (1, 2, True), (2, 4, True), (3, 3, True)),
        *((4, 1, False), (5, 2, True), (5, 3, True), (6, 2, True)),
    ]


async def test_bad_lines_are_told_with_their_numbers_and_kept(
    logger_url: str,
    database: PostgresServer,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    path = tmp_path / "data.json.gz"
    good = {"message": "next", "timestamp": 1_700_000_000_000, "user": 1, "track": 2}
    good |= {"time": 0.5, "recommendation": 3}
    ancient = good | {"timestamp": 5, "user": 2}
    lines = [b"{nope", json.dumps(good).encode(), b"", json.dumps(ancient).encode(), b'{"time":2}']
    path.write_bytes(gzip.compress(b"\n".join(lines)))
    for n_stored in (1, 0):
        assert await run("import", str(path), "--logger", logger_url) == 1
        output = capsys.readouterr()
        assert [line.split(": ")[0] for line in output.err.splitlines()] == [
            f"{path}:{number}" for number in (1, 4, 5)
        ]
        assert f"stored {n_stored} events" in output.out
        assert "3 lines are no events, kept as dead letters" in output.out
    letters = await fetch_all(database.dsn, "SELECT payload FROM dead_letters")
    assert {bytes(row["payload"])[:8] for row in letters} >= {b"{nope", b'{"time":'}
    assert len(letters) == 3


async def test_many_bad_lines_are_counted_and_some_told(
    logger_url: str, database: PostgresServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "data.json"
    path.write_text("".join(f"bad {n}\n" for n in range(1000)))
    assert await run("import", str(path), "--logger", logger_url) == 1
    output = capsys.readouterr()
    assert output.err.splitlines()[-1] == f"{path}: and 980 more lines"
    assert "1,000 lines are no events" in output.out
    assert await fetch_value(database.dsn, "SELECT count(*) FROM dead_letters") == 1000


@pytest.mark.parametrize(
    "name", ["empty.json", "absent.json", "cut.json.gz", "no.json.gz", "damaged.json.gz"]
)
async def test_files_that_hold_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "empty.json").touch()
    (tmp_path / "cut.json.gz").write_bytes(gzip.compress(b"{}\n" * 100)[:20])
    (tmp_path / "no.json.gz").write_bytes(b"plain")
    damaged = bytearray(gzip.compress(b"{}\n" * 100))
    damaged[10] ^= 0xFF
    (tmp_path / "damaged.json.gz").write_bytes(damaged)
    code = await run("import", str(tmp_path / name), "--logger", "http://127.0.0.1:1")
    output = capsys.readouterr()
    if name == "empty.json":
        assert (code, "stored 0 events" in output.out) == (0, True)
    else:
        assert (code, output.out) == (1, "")
        assert output.err.startswith(f"analysis: {tmp_path / name}: ")
        assert output.err.count("\n") == 1


# botify's notebook, as it is: sessions end with `last`, those that do not end are left out.
def compute_as_the_notebook(log: pd.DataFrame, experiment: str) -> pd.DataFrame:
    log = log.assign(treatment=log["experiments"].map(lambda arms: arms.get(experiment)))
    log = log.dropna(subset="treatment").sort_values(["user", "timestamp"], kind="stable")
    is_last = log["message"] == "last"
    log["session"] = is_last.groupby(log["user"]).cumsum() - is_last
    sessions = log.groupby(["user", "treatment", "session"]).agg(
        tracks=("time", "size"),
        time=("time", "sum"),
        latency=("latency", "sum"),
        n_last=("message", lambda messages: (messages == "last").sum()),
    )
    sessions = sessions[sessions["n_last"] == 1]
    users = sessions.groupby(["user", "treatment"]).agg(
        tracks=("tracks", "sum"),
        time=("time", "sum"),
        latency=("latency", "sum"),
        sessions=("time", "size"),
    )
    users["mean_request_latency"] = 1000 * users["latency"] / users["tracks"]
    users["mean_tracks_per_session"] = users["tracks"] / users["sessions"]
    users["mean_time_per_session"] = users["time"] / users["sessions"]
    return users.reset_index()


async def insert_experiment(connection: asyncpg.Connection) -> None:
    """Insert users of one to three sessions; the decision to close takes as long as the others."""
    rows = []
    for user in range(120):
        arm = {"E": "C" if user % 2 else "T1"}
        for visit in range(1 + user % 3):
            times = [1.0, *((user * 7 + n * 13 + visit) % 100 / 100 for n in range(1 + user % 9))]
            latency = 0.001 * (1 + user % 5)
            rows += make_session(
                user,
                times,
                experiments=arm,
                at=START + pd.Timedelta(hours=visit).to_pytimedelta(),
                latencies=[latency] * len(times),
            )
    await insert(connection, rows)


async def test_botifys_notebook_finds_our_numbers_in_our_export(
    database: PostgresServer, tmp_path: Path
) -> None:
    async with connect(database.dsn) as connection:
        await insert_experiment(connection)
    assert await export(database, tmp_path / "data.json") == 0
    log = pd.read_json(io.BytesIO((tmp_path / "data.json").read_bytes()), lines=True)
    users = compute_as_the_notebook(log, "E")
    async with open_database(database.dsn) as connection:
        ours = await fetch_measurements(connection, "E")
    assert {arm.treatment: arm.n_users for arm in ours.arms} == {"C": 60, "T1": 60}
    for metric in (
        *("time", "sessions", "mean_request_latency"),
        *("mean_tracks_per_session", "mean_time_per_session"),
    ):
        for treatment, values in users.groupby("treatment")[metric]:
            found = ours.metrics[str(treatment), metric]
            assert found.n_users == len(values)
            assert found.mean == pytest.approx(values.mean(), rel=1e-6), metric
            assert found.variance == pytest.approx(values.var(ddof=1), rel=1e-5), metric
