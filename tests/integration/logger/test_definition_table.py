import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.definition_table import DefinitionTable
from services.logger.adapters.event_store import open_pool
from services.recommender.adapters.definition_announcer import DefinitionAnnouncer
from shared.definition_log import LOADS_KEY, announce_load, make_load
from shared.definitions import parse_experiments
from shared.experiments import ExperimentSet
from shared.tasks import in_background
from tests.integration.analysis.log import START, connect, insert, make_session
from tests.unit.logger.factories import fetch_all, fetch_value

WINDOWS = "SELECT digest, valid_from, valid_until::text FROM definition_windows ORDER BY valid_from"


def define(weight: int = 1, *, recommender: str = "contextual", value: str = "1") -> ExperimentSet:
    return parse_experiments(
        f"""
        serving: E
        experiments:
          - name: E
            treatments:
              - {{name: C, recommender: random}}
              - name: T1
                recommender: {recommender}
                weight: {weight}
                parameters: {{a: {value}}}
          - {{name: AA, treatments: [{{name: C}}, {{name: T1}}]}}
        """.encode()
    )


def later(hours: float) -> datetime:
    return START + timedelta(hours=hours)


@pytest.fixture
async def table(database: PostgresServer, redis: Redis) -> AsyncIterator[DefinitionTable]:
    async with open_pool(database.dsn, max_size=2) as pool:
        yield DefinitionTable(redis, pool)


async def load(redis: Redis, *loads: tuple[ExperimentSet, float]) -> list[str]:
    made = [make_load(experiments, later(hours)) for experiments, hours in loads]
    for each in made:
        await announce_load(redis, each)
    return [each.digest for each in made]


async def test_one_definitions_window_ends_where_the_next_begins(
    table: DefinitionTable, redis: Redis, database: PostgresServer
) -> None:
    one, other = define(), define(2)
    digests = await load(redis, (one, 0), (one, 1), (other, 2), (other, 2.5), (one, 3))
    assert await table.copy() == 5
    rows = [tuple(row) for row in await fetch_all(database.dsn, WINDOWS)]
    assert [row[:2] for row in rows] == [
        (digests[0], later(0)),
        (digests[2], later(2)),
        (digests[0], later(3)),
    ]
    assert rows[-1][2] == "infinity"


async def test_a_log_that_is_read_again_adds_nothing(
    table: DefinitionTable, redis: Redis, database: PostgresServer
) -> None:
    await load(redis, (define(), 0))
    assert [await table.copy(), await table.copy()] == [1, 0]
    await load(redis, (define(), 0), (define(2), 1))  # as a recommender does after a lost Redis
    async with open_pool(database.dsn, max_size=1) as pool:
        assert await DefinitionTable(redis, pool).copy() == 3
    assert await fetch_value(database.dsn, "SELECT count(*) FROM definition_loads") == 2
    assert await fetch_value(database.dsn, "SELECT count(*) FROM definitions") == 2


async def test_what_is_no_load_is_passed_over(
    table: DefinitionTable, redis: Redis, database: PostgresServer
) -> None:
    await redis.xadd(LOADS_KEY, {"load": b"{nope"})
    await redis.xadd(LOADS_KEY, {"other": b"1"})
    forged = make_load(define(), START)
    await redis.xadd(
        LOADS_KEY,
        {"load": b'{"loaded_at":"2026-03-10T12:00:00Z","digest":"ab","content":{"serving":"X"}}'},
    )
    await announce_load(redis, forged)
    await table.copy()
    assert [row[0] for row in await fetch_all(database.dsn, WINDOWS)] == [forged.digest]


async def test_who_saw_what_follows_the_definitions(
    table: DefinitionTable, redis: Redis, database: PostgresServer
) -> None:
    digests = await load(redis, (define(), 0.5), (define(recommender="session"), 2))
    await table.copy()
    arms = {"E": "T1", "AA": "C"}
    async with connect(database.dsn) as connection:
        for hours in (0, 1, 3):
            await insert(connection, make_session(7, [1.0, 0.5], experiments=arms, at=later(hours)))
        await insert(connection, make_session(8, [1.0], experiments={"E": "C"}, at=later(1)))
    exposures = await fetch_all(
        database.dsn,
        "SELECT digest, n_events, first_at FROM user_exposures "
        "WHERE user_id = 7 AND experiment = 'E' AND treatment = 'T1' ORDER BY first_at",
    )
    assert [tuple(row) for row in exposures] == [
        (None, 2, later(0)),
        (digests[0], 2, later(1)),
        (digests[1], 2, later(3)),
    ]
    question = "SELECT * FROM definitions_seen($1, $2) WHERE experiment = 'E'"
    seen = {}
    for hours in (-1, 0.1, 1.5, 2.5, 4):
        rows = await fetch_all(database.dsn, question, 7, later(hours))
        seen[hours] = [(row["treatment"], row["recommender"], row["digest"]) for row in rows]
    assert seen == {
        -1: [],
        0.1: [("T1", None, None)],
        1.5: [("T1", "contextual", digests[0])],
        2.5: [("T1", "contextual", digests[0])],  # of the last event, which came before the change
        4: [("T1", "session", digests[1])],
    }
    (row,) = await fetch_all(database.dsn, question, 7, later(4))
    assert (row["parameters"], row["model_version"], row["seen_at"]) == (
        '{"a": 1}',
        "latest",
        later(3) + timedelta(seconds=1),
    )


async def test_a_recommender_announces_once_and_again_where_redis_lost_it(
    redis: Redis, valkey: ValkeyServer
) -> None:
    announcer = DefinitionAnnouncer(valkey.url, make_load(define(), START), interval_s=0.01)
    await announcer.announce()
    await announcer.announce()
    assert await redis.xlen(LOADS_KEY) == 1
    await redis.flushall()
    async with in_background(announcer.watch()), asyncio.timeout(10):
        while not await redis.xlen(LOADS_KEY):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_a_redis_that_is_away_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    announcer = DefinitionAnnouncer(
        "redis://127.0.0.1:1/0", make_load(define(), START), interval_s=0.01
    )
    async with in_background(announcer.watch()) as watching:
        async with asyncio.timeout(30):
            while caplog.text.count("definitions not announced") < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert not watching.done()


async def test_definitions_that_postgres_refuses_hold_up_no_others(
    table: DefinitionTable, redis: Redis, database: PostgresServer
) -> None:
    refused = define(value=r'"\0"')
    digests = await load(redis, (refused, 0), (define(), 1))
    assert await table.copy() == 2
    rows = await fetch_all(database.dsn, WINDOWS)
    assert [row["digest"] for row in rows] == digests[1:]
