import json
from datetime import timedelta
from typing import Any

import asyncpg
import pytest

from deploy.local.servers import PostgresServer
from tests.integration.analysis.log import START, insert, make_known_log, make_session

pytestmark = pytest.mark.usefixtures("known_log")


async def fetch_metrics(
    connection: asyncpg.Connection, treatment: str
) -> dict[str, tuple[int, float, float | None]]:
    rows = await connection.fetch(
        "SELECT * FROM experiment_metrics WHERE experiment = 'RECOMMENDERS' AND treatment = $1",
        treatment,
    )
    return {row["metric"]: (row["n_users"], row["mean"], row["variance"]) for row in rows}


async def explain(connection: asyncpg.Connection, query: str) -> str:
    return "\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {query}"))


async def test_metrics_by_hand(connection: asyncpg.Connection) -> None:
    assert await fetch_metrics(connection, "C") == {
        "time": (2, 2.0, 0.5),
        "sessions": (2, 1.5, 0.5),
        "mean_request_latency": (2, pytest.approx(3.0), pytest.approx(2.0)),
        "mean_tracks_per_session": (2, 2.75, pytest.approx(3.125)),
        "mean_time_per_session": (2, 1.375, pytest.approx(0.03125)),
    }
    assert await fetch_metrics(connection, "T1") == {
        "time": (2, 2.0, 2.0),
        "sessions": (2, 1.0, 0.0),
        "mean_request_latency": (2, pytest.approx(5.0), pytest.approx(18.0)),
        "mean_tracks_per_session": (2, 2.0, 2.0),
        "mean_time_per_session": (2, 2.0, 2.0),
    }


async def test_experiment_users_by_hand(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "SELECT * FROM experiment_users WHERE experiment = 'RECOMMENDERS' ORDER BY user_id"
    )
    assert [
        (row["user_id"], row["treatment"], row["n_sessions"], row["n_finished"], row["n_tracks"])
        for row in rows
    ] == [(1, "C", 2, 2, 3), (2, "C", 1, 1, 4), (3, "T1", 1, 1, 3), (4, "T1", 1, 0, 1)]
    assert [(row["time"], row["n_requests"]) for row in rows] == [
        (2.5, 1),
        (1.5, 3),
        (3, 2),
        (1, 1),
    ]
    assert rows[1]["latency"] == pytest.approx(0.006)
    assert rows[0]["first_at"] == START
    assert rows[0]["last_at"] == START + timedelta(hours=1)


async def test_a_user_seen_under_two_treatments_is_a_conflict(
    connection: asyncpg.Connection,
) -> None:
    rows = await connection.fetch("SELECT * FROM experiment_conflicts")
    assert [tuple(row) for row in rows] == [("RECOMMENDERS", 1, 5)]


async def test_only_events_that_name_the_experiment_count(connection: asyncpg.Connection) -> None:
    users = await connection.fetch(
        "SELECT user_id FROM experiment_users WHERE experiment = 'AA' ORDER BY user_id"
    )
    assert [row["user_id"] for row in users] == [1, 2, 3, 4, 5, 6]


async def test_a_user_without_requests_has_no_latency(connection: asyncpg.Connection) -> None:
    rows = make_session(7, [1.0], experiments={"RECOMMENDERS": "C"})  # a farewell and nothing else
    await insert(connection, rows)
    metrics = await fetch_metrics(connection, "C")
    assert metrics["mean_request_latency"][0] == 2
    assert metrics["time"][0] == 3


async def test_bounds_take_since_and_leave_until(connection: asyncpg.Connection) -> None:
    count = "SELECT sum(n_tracks) FROM experiment_users_between($1, $2) WHERE experiment = 'AA'"
    second = START + timedelta(seconds=1)
    assert await connection.fetchval(count, START, second) == 6
    assert await connection.fetchval(count, second, START + timedelta(seconds=2)) == 5


async def test_sessions_by_hand(connection: asyncpg.Connection) -> None:
    row = await connection.fetchrow("SELECT * FROM sessions WHERE user_id = 2")
    assert row is not None
    assert (row["n_tracks"], row["time"], row["n_requests"], row["is_finished"]) == (
        4,
        1.5,
        3,
        True,
    )
    assert (row["started_at"], row["ended_at"]) == (START, START + timedelta(seconds=3))
    assert row["mean_latency"] == pytest.approx(0.002)
    assert await connection.fetchval("SELECT is_finished FROM sessions WHERE user_id = 4") is False


async def test_a_playback_carries_what_served_it(connection: asyncpg.Connection) -> None:
    rows = await connection.fetch(
        "SELECT * FROM playbacks WHERE user_id = 2 ORDER BY session_id, position"
    )
    served = [
        (row["is_recommended"], row["recommender"], row["model_version"], row["propensity"])
        for row in rows
    ]
    assert served == [
        (False, None, None, None),
        (True, "random", "v0", 0.5),
        (True, "random", "v1", 0.25),
        (True, "random", "v2", 0.125),
    ]
    assert json.loads(rows[0]["experiments"]) == {"RECOMMENDERS": "C", "AA": "C"}


@pytest.mark.parametrize("change", [{"track_id": 999}, {"position": 5}])
async def test_a_track_that_was_not_answered_is_the_listeners_choice(
    connection: asyncpg.Connection, change: dict[str, Any]
) -> None:
    first, second = make_session(8, [1.0, 0.5], experiments={})
    await insert(connection, [first, second | change])
    rows = await connection.fetch("SELECT * FROM playbacks WHERE user_id = 8")
    assert [row["is_recommended"] for row in rows] == [False, False]
    assert [row["propensity"] for row in rows] == [None, None]


async def test_playbacks_has_one_row_per_event(connection: asyncpg.Connection) -> None:
    assert await connection.fetchval("SELECT count(*) FROM playbacks") == len(make_known_log())


async def test_filters_reach_the_scan_of_events(connection: asyncpg.Connection) -> None:
    plan = await explain(
        connection, "SELECT * FROM experiment_metrics WHERE experiment = 'RECOMMENDERS'"
    )
    assert "Function Scan on jsonb_each_text" in plan
    assert "Filter: (key = 'RECOMMENDERS'::text)" in plan
    assert "Function Scan on experiment" not in plan  # our functions are inlined

    for view in ("sessions", "playbacks", "experiment_sessions"):
        plan = await explain(connection, f"SELECT * FROM {view} WHERE user_id = 3")
        assert "(user_id = 3)" in plan
        assert "Filter: (user_id = 3)" not in plan.split("Scan on events")[0]


async def test_bounds_prune_partitions(connection: asyncpg.Connection) -> None:
    rows = make_session(9, [1.0], experiments={}, at=START + timedelta(days=60))
    await insert(connection, rows)
    plan = await explain(
        connection,
        "SELECT * FROM experiment_metrics_between('2026-05-01Z', '2026-05-31Z') "
        "WHERE experiment = 'RECOMMENDERS'",
    )
    assert "events_2026_05" in plan
    assert "events_2026_03" not in plan


async def test_every_view_says_what_it_is(known_log: PostgresServer, connection: Any) -> None:
    undocumented = await connection.fetch(
        "SELECT viewname FROM pg_views WHERE schemaname = 'public' "
        "AND obj_description(format('%I', viewname)::regclass) IS NULL"
    )
    assert undocumented == []
