"""From the file of a running recommender to the record in Postgres."""

from pathlib import Path

from redis.asyncio import Redis

from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.definition_table import DefinitionTable
from services.logger.adapters.event_store import open_pool
from shared.definition_log import LOADS_KEY
from tests.integration.recommender.conftest import serving, until
from tests.unit.logger.factories import fetch_all
from tests.unit.recommender.factories import EXPERIMENTS

RECORDED = "SELECT experiment, treatment, recommender, is_serving FROM experiment_definitions"


async def test_what_a_recommender_serves_by_is_recorded(
    redis: Redis, valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    async def is_announced() -> bool:
        return bool(await redis.exists(LOADS_KEY))

    async with serving(tmp_path, valkey.url), open_pool(database.dsn, max_size=1) as pool:
        await until(is_announced)
        await DefinitionTable(redis, pool).copy()
    rows = await fetch_all(database.dsn, f"{RECORDED} ORDER BY experiment DESC, treatment")
    assert [tuple(row) for row in rows] == [
        ("SERVING", "C", "random", True),
        ("SERVING", "T1", "contextual", True),
        ("AA", "C", None, False),
        ("AA", "T1", None, False),
    ]


async def test_a_change_of_the_file_ends_one_window_and_begins_another(
    redis: Redis, valkey: ValkeyServer, database: PostgresServer, tmp_path: Path
) -> None:
    for n, text in enumerate([EXPERIMENTS, EXPERIMENTS.replace(b"contextual", b"top_pop")], 1):

        async def has_entries(n_entries: int = n) -> bool:
            return bool(await redis.xlen(LOADS_KEY) == n_entries)

        (tmp_path / "experiments.yaml").write_bytes(text)
        async with serving(tmp_path, valkey.url):
            await until(has_entries)
    async with open_pool(database.dsn, max_size=1) as pool:
        await DefinitionTable(redis, pool).copy()
    rows = await fetch_all(
        database.dsn,
        "SELECT recommender, valid_from, valid_until FROM experiment_definitions "
        "WHERE experiment = 'SERVING' AND treatment = 'T1' ORDER BY valid_from",
    )
    assert [row["recommender"] for row in rows] == ["contextual", "top_pop"]
    assert rows[0]["valid_until"] == rows[1]["valid_from"]
