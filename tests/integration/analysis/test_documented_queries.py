"""Every SQL block of docs/queries.md runs, and finds something in the log known by hand."""

import re
from pathlib import Path

import asyncpg
import pytest

from deploy.local.servers import PostgresServer

PAGE = (Path(__file__).parents[3] / "docs" / "queries.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)
# What the recommender exports, that a query may name.
COUNTERS = {
    "segue_fallbacks_total",
    "segue_listened_time_total",
    "segue_playbacks_total",
    "segue_request_duration_seconds_bucket",
    "segue_request_duration_seconds_count",
    "segue_request_duration_seconds_sum",
    "segue_sessions_total",
}


@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
async def test_a_documented_query_finds_something(
    known_log: PostgresServer, connection: asyncpg.Connection, query: str
) -> None:
    await connection.execute("SELECT refresh_listening_days()")
    assert await connection.fetch(query)


async def test_the_documented_uplift_is_that_of_the_log(
    connection: asyncpg.Connection, known_log: PostgresServer
) -> None:
    query = next(query for query in QUERIES if "effect_pct" in query)
    rows = {row["metric"]: row for row in await connection.fetch(query)}
    assert rows["mean_request_latency"]["effect_pct"] == pytest.approx(100 * 2 / 3)
    assert rows["mean_request_latency"]["z"] == pytest.approx(2 / (2 / 2 + 18 / 2) ** 0.5)
    assert rows["time"]["effect_pct"] == 0


async def test_the_page_documents_every_view(connection: asyncpg.Connection) -> None:
    views = await connection.fetch("SELECT viewname FROM pg_views WHERE schemaname = 'public'")
    assert all(f"| `{row['viewname']}` |" in PAGE for row in views)


def test_the_page_names_no_unknown_counter() -> None:
    assert set(re.findall(r"\bsegue_\w+", PAGE)) == COUNTERS
