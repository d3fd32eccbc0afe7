"""The same aggregates from SQL and from pandas, on logs that hypothesis makes up."""

import asyncio
import contextlib
import dataclasses
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from analysis.adapters import refreshing
from analysis.adapters.measurements import DatabaseError, fetch_measurements, open_database
from analysis.core.comparison import Arm, Measurements
from deploy.local.servers import PostgresServer
from tests.integration.analysis.log import (
    START,
    Row,
    connect,
    insert,
    insert_where_there_are_partitions,
    make_session,
)

EXPERIMENT = "RECOMMENDERS"
RETENTION_DAYS, HISTORY_DAYS = 7, 28
SECOND = timedelta(seconds=1)
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)  # a midnight: whole days; a second later: events
N_TRACKS = 5
sessions = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.integers(0, 5),
            "treatment": st.sampled_from(["by user", "by user", "by user", "T1", None]),
            "times": st.lists(st.floats(0, 1), min_size=1, max_size=N_TRACKS),
            "latency": st.floats(0, 1, width=32),
            "finished": st.booleans(),
            "fell_back": st.booleans(),
            "day": st.sampled_from([-40, -2, 0, 1, 7, 9]),
        }
    ),
    max_size=12,
)


def draw(user: int, treatment: str | None) -> dict[str, Any]:
    """Return a session of the first day as `sessions` draws them."""
    given = {"user": user, "treatment": treatment, "times": [0.5, 0.25], "latency": 0.5}
    return given | {"finished": True, "fell_back": False, "day": 0}


def make_log(drawn: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for number, session in enumerate(drawn):
        treatment = session["treatment"]
        if treatment == "by user":
            treatment = "T1" if session["user"] % 2 else "C"
        events = make_session(
            session["user"],
            session["times"],
            experiments={"OTHER": "C"} | ({EXPERIMENT: treatment} if treatment else {}),
            at=START + timedelta(minutes=number, days=session["day"]),
            latencies=[session["latency"]] * len(session["times"]),
            finished=session["finished"],
        )
        if session["fell_back"] and events[0]["message"] == "next":
            events[0]["fallback"] = "contextual:no_model"
        rows += events
    return rows


def measure_by_pandas(rows: list[Row]) -> tuple[dict[tuple[str, str], list[Any]], int]:
    """Return the expected aggregate per treatment and metric, and the users in conflict."""
    frame = pd.DataFrame(rows).sort_values(["occurred_at", "event_id"])
    frame["treatment"] = frame["experiments"].str.extract(rf'"{EXPERIMENT}": "(\w+)"')[0]
    frame["day"] = frame.groupby("session_id")["occurred_at"].transform("min").dt.floor("D")
    frame["artist"] = frame["track_id"] // 2
    frame["date"] = frame["occurred_at"].dt.floor("D")
    frame["repeat"] = frame.duplicated(["user_id", "track_id", "date"])
    n_arms = frame.groupby("user_id")["treatment"].transform("nunique")
    latest = frame.loc[(n_arms == 1) & frame["treatment"].notna(), "date"].max()
    n_conflicts = frame.loc[n_arms > 1, "user_id"].nunique()
    values: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for _, events in frame[n_arms == 1].groupby("user_id"):
        exposed = events[events["treatment"].notna()]
        first_at, first_day = exposed["occurred_at"].min(), exposed["day"].min()
        # Days are summed up whole: one that goes on after the exposure is no history.
        other = events[events["treatment"].isna()]
        ends = other.groupby(["day", "experiments"])["occurred_at"].transform("max")
        past = other[ends < first_at]
        past = past[past["day"] >= first_day - pd.Timedelta(days=HISTORY_DAYS)]
        now, before = describe(exposed), describe(past) if len(past) else {}
        due = first_day + pd.Timedelta(days=RETENTION_DAYS)
        now["retention"] = (
            (float(exposed["day"].between(first_day + pd.Timedelta(days=1), due).any()), 1.0)
            if due < latest
            else (float("nan"), 1.0)
        )
        before["retention"] = (before.get("sessions", (0.0, 1.0))[0], 1.0)
        for name, (numerator, denominator) in now.items():
            above, below = before.get(name, (float("nan"), 1.0))
            past_value = above / below if below else float("nan")
            if name in {"time", "sessions", "completed_plays"} and not before.get(name):
                past_value = 0.0
            if not pd.isna(numerator):
                values.setdefault((exposed["treatment"].iloc[0], name), []).append(
                    (numerator, denominator, past_value)
                )
    return {key: aggregate(key[1], values)[key[0]] for key in values}, n_conflicts


def describe(events: pd.DataFrame) -> dict[str, tuple[float, float]]:
    """Return numerator and denominator per metric of one user."""
    sessions = events["session_id"].nunique()
    requests = events[events["message"] == "next"]
    recommended = events[events["position"] > 0]
    n, nan = len(requests), float("nan")
    return {
        "time": (events["time"].sum(), 1),
        "sessions": (sessions, 1),
        "mean_request_latency": (1000 * requests["latency"].mean() if n else nan, 1),
        "mean_tracks_per_session": (len(events) / sessions, 1),
        "mean_time_per_session": (events["time"].sum() / sessions, 1),
        "completed_plays": ((recommended["time"] >= 0.9).sum(), 1),
        "artists_per_session": (events.groupby("session_id")["artist"].nunique().mean(), 1),
        "skip_rate": ((recommended["time"] < 0.5).sum(), len(recommended)),
        "repeat_share": (events["repeat"].sum(), len(events)),
        "fallback_share": (requests["fallback"].notna().sum(), n),
    }


def aggregate(
    metric: str, values: dict[tuple[str, str], list[tuple[float, float, float]]]
) -> dict[str, list[Any]]:
    """Return count, mean, variance, and those of the history, per treatment of a metric."""
    arms = {name: np.array(v, dtype=float) for (name, m), v in values.items() if m == metric}
    known = np.concatenate([arm[:, 2] for arm in arms.values()])
    typical = known[~np.isnan(known)].mean() if (~np.isnan(known)).any() else np.nan
    result = {}
    for name, arm in arms.items():
        numerator, denominator, past = arm.T
        if not denominator.sum():
            result[name] = [0, None, None, None, None, None]
            continue
        ratio = numerator.sum() / denominator.sum()
        value = ratio + (numerator - ratio * denominator) / denominator.mean()
        past = np.where(np.isnan(past), typical, past)
        spread = np.cov(value, past) if len(value) > 1 else np.full((2, 2), np.nan)
        result[name] = [
            len(value), ratio, spread[0, 0], past.mean(), spread[1, 1], spread[0, 1]
        ]  # fmt: skip
    return result


async def measure_by_sql(database: PostgresServer, rows: list[Row]) -> Measurements:
    async with connect(database.dsn) as connection:
        await connection.execute(
            "TRUNCATE events, tracks, listening_days, experiment_listeners, "
            "listening_days_refreshed"
        )
        await connection.executemany(
            "INSERT INTO tracks VALUES ($1, $2, 'a title')",
            [(track, f"artist {track // 2}") for track in range(N_TRACKS)],
        )
        if rows:
            await insert(connection, rows)
    async with open_database(database.dsn) as read_only:
        stored = await fetch_measurements(read_only, EXPERIMENT)
        of_days = await fetch_measurements(read_only, EXPERIMENT, since=LONG_AGO)
        of_events = await fetch_measurements(read_only, EXPERIMENT, since=LONG_AGO + SECOND)
    assert_same(stored, of_days)
    assert_same(stored, of_events)
    return stored


def assert_same(one: Measurements, other: Measurements) -> None:
    assert arms_of(one) == arms_of(other)
    assert one.metrics.keys() == other.metrics.keys()
    for key, found in one.metrics.items():
        assert dataclasses.astuple(found) == pytest.approx(
            dataclasses.astuple(other.metrics[key]), abs=1e-6
        )


def arms_of(measurements: Measurements) -> dict[str, Arm]:
    return {arm.treatment: arm for arm in measurements.arms}


@settings(
    max_examples=25,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(drawn=sessions)
@example(drawn=[draw(0, None), draw(0, "C"), draw(0, None), draw(2, "C")])
async def test_sql_aggregates_equal_pandas(
    database: PostgresServer, drawn: list[dict[str, Any]]
) -> None:
    rows = make_log(drawn)
    measurements = await measure_by_sql(database, rows)
    if not any(session["treatment"] for session in drawn):
        assert measurements.arms == []
        return
    expected, n_conflicts = measure_by_pandas(rows)

    assert measurements.n_conflict_users == n_conflicts
    assert {arm.treatment for arm in measurements.arms} == {key[0] for key in expected}
    found = {
        key: [nan_to_none(value) for value in dataclasses.astuple(aggregate)]
        for key, aggregate in measurements.metrics.items()
        if not key[1].startswith("latency_")
    }
    assert found.keys() == expected.keys()
    for key, values in expected.items():
        assert found[key] == pytest.approx([nan_to_none(v) for v in values], abs=1e-6), key


def nan_to_none(value: float | None) -> float | None:
    return None if pd.isna(value) else value


async def test_a_connection_for_reading_cannot_write(database: PostgresServer) -> None:
    with pytest.raises(DatabaseError, match="read-only"):
        async with open_database(database.dsn) as connection:
            await connection.execute("TRUNCATE events")


async def test_arms_by_hand(known_log: PostgresServer) -> None:
    async with open_database(known_log.dsn) as connection:
        measurements = await fetch_measurements(connection, EXPERIMENT)
    arms = {arm.treatment: arm for arm in measurements.arms}
    assert (arms["C"].n_users, arms["C"].n_sessions, arms["C"].n_events) == (2, 3, 7)
    assert (arms["T1"].n_users, arms["T1"].n_sessions, arms["T1"].n_events) == (2, 2, 4)
    assert arms["T1"].n_finished == 1
    assert arms["C"].first_at == START
    assert (measurements.n_conflict_users, measurements.n_conflict_events) == (1, 5)


async def test_bounds_select_events(known_log: PostgresServer) -> None:
    async with open_database(known_log.dsn) as connection:
        measurements = await fetch_measurements(
            connection, EXPERIMENT, since=START + timedelta(minutes=30)
        )
    # of user 5 only the session under T1 is left: no conflict between these bounds
    assert {arm.treatment: arm.n_events for arm in measurements.arms} == {"C": 1, "T1": 3}
    assert measurements.n_conflict_users == 0


def make_requests(seed: int, n_users: int) -> list[Row]:
    """Make sessions whose latency is a listener's own: requests come in clusters."""
    generator = np.random.default_rng(seed)
    rows: list[Row] = []
    for user in range(n_users):
        n = int(generator.integers(2, 30))
        own = float(generator.lognormal(1, 0.6))
        latencies = [own * float(x) / 1000 for x in generator.lognormal(0, 0.3, n)]
        rows += make_session(
            user, [1.0] * n, experiments={EXPERIMENT: "C"}, latencies=latencies, finished=False
        )
    return rows


async def test_the_variance_of_a_quantile_is_that_of_resampled_users(
    database: PostgresServer,
) -> None:
    rows = make_requests(1, 300)
    measurements = await measure_by_sql(database, rows)
    frame = pd.DataFrame(rows)
    by_user = [1000 * group.to_numpy() for _, group in frame.groupby("user_id")["latency"]]
    generator = np.random.default_rng(2)
    for name, share in (("latency_p50", 0.5), ("latency_p99", 0.99)):
        found = measurements.metrics["C", name]
        assert found.n_users == 300
        assert found.mean == pytest.approx(np.quantile(np.concatenate(by_user), share), rel=1e-5)
        resampled = [
            np.quantile(
                np.concatenate([by_user[i] for i in generator.integers(0, 300, 300)]), share
            )
            for _ in range(400)
        ]
        assert found.variance is not None
        error = (found.variance / found.n_users) ** 0.5
        assert error == pytest.approx(np.std(resampled), rel=0.35)
        # as if requests were independent, it would be far too small
        if name == "latency_p50":
            alone = [
                np.quantile(generator.choice(np.concatenate(by_user), len(frame)), share)
                for _ in range(100)
            ]
            assert error > 2 * np.std(alone)


async def test_users_in_conflict_have_no_latency(known_log: PostgresServer) -> None:
    async with open_database(known_log.dsn) as connection:
        measurements = await fetch_measurements(connection, EXPERIMENT)
    # user 5 heard both; of the others C has requests of 4, 1, 2, 3 ms
    assert measurements.metrics["C", "latency_p50"].mean == pytest.approx(2.5)
    assert measurements.metrics["C", "latency_p50"].n_users == 2


async def test_events_that_come_late_count_as_if_they_had_come_in_time(
    database: PostgresServer,
) -> None:
    rows = make_log(
        [
            {
                "user": user,
                "treatment": "by user",
                "times": [1.0, 0.2, 0.7],
                "latency": 0.001,
                "finished": True,
                "fell_back": False,
                "day": 0,
            }
            for user in range(4)
        ]
    )
    in_time = await measure_by_sql(database, rows)
    late = rows[::3]
    await measure_by_sql(database, [row for row in rows if row not in late])
    async with connect(database.dsn) as connection:
        await insert(connection, late)
    async with open_database(database.dsn) as read_only:
        measured = await fetch_measurements(read_only, EXPERIMENT)
    assert arms_of(measured) == arms_of(in_time)
    assert measured.metrics == in_time.metrics


async def test_a_refresh_makes_anew_what_has_news_and_nothing_else(
    database: PostgresServer,
) -> None:
    async with connect(database.dsn) as connection:
        await insert(connection, make_requests(3, 5))
        assert await refresh(connection) == 5
        assert await refresh(connection) == 0
        at = START + timedelta(days=1)
        await insert(connection, make_session(3, [1.0], experiments={EXPERIMENT: "C"}, at=at))
        # of listener 3 the day before, too: a session might have begun then
        assert await refresh(connection) == 2
        assert await connection.fetchval("SELECT count(*) FROM listening_days") == 6
        assert await connection.fetchval(
            "SELECT next_day - first_day FROM experiment_listeners WHERE user_id = 3"
        )
        assert await refresh(connection) == 0


async def refresh(connection: asyncpg.Connection) -> int:
    return int(await connection.fetchval("SELECT refresh_listening_days()"))


async def test_a_transaction_that_ends_after_a_refresh_is_not_lost(
    database: PostgresServer,
) -> None:
    c = {EXPERIMENT: "C"}
    async with connect(database.dsn) as slow, connect(database.dsn) as connection:
        await insert(connection, make_session(1, [1.0], experiments=c))
        async with slow.transaction():
            await insert_where_there_are_partitions(slow, make_session(2, [1.0], experiments=c))
            await insert(connection, make_session(3, [1.0], experiments=c))
            assert await refresh(connection) == 2
            assert await refresh(connection) == 0
        assert await refresh(connection) == 1
        assert await connection.fetchval("SELECT count(*) FROM experiment_listeners") == 3


async def test_refreshes_at_once_and_one_cut_short_leave_what_one_leaves(
    database: PostgresServer,
) -> None:
    async with contextlib.AsyncExitStack() as stack:
        several = [await stack.enter_async_context(connect(database.dsn)) for _ in range(4)]
        await insert(several[0], make_requests(3, 20))
        cut_short = several[0].transaction()
        await cut_short.start()
        await refresh(several[0])
        others = [asyncio.create_task(refresh(connection)) for connection in several[1:]]
        await cut_short.rollback()
        assert sorted(await asyncio.gather(*others)) == [0, 0, 20]
        wrong = await several[0].fetch(
            "SELECT * FROM experiment_listeners EXCEPT "
            "SELECT * FROM experiment_listeners_between($1, '-infinity', 'infinity')",
            EXPERIMENT,
        )
        assert wrong == []
        assert await several[0].fetchval("SELECT count(*) FROM experiment_listeners") == 20


async def test_a_refresh_in_parts_leaves_what_one_of_everything_leaves(
    database: PostgresServer,
) -> None:
    async with connect(database.dsn) as connection:
        await insert(connection, make_requests(3, 20))
        parts = await connection.fetchval("SELECT refresh_listening_days(events_per_part => 10)")
        assert parts == 20
        for table, function, arguments in (
            ("listening_days", "listening_days_between", []),
            ("experiment_listeners", "experiment_listeners_between", [EXPERIMENT]),
        ):
            names = "".join(f"${number}, " for number, _ in enumerate(arguments, start=1))
            anew = f"SELECT * FROM {function}({names}'-infinity', 'infinity')"
            assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 20
            assert await connection.fetch(f"{anew} EXCEPT SELECT * FROM {table}", *arguments) == []
        assert await refresh(connection) == 0


async def test_who_waits_for_a_refresh_hears_how_far_it_is(database: PostgresServer) -> None:
    heard: asyncio.Queue[str] = asyncio.Queue()
    async with connect(database.dsn) as busy, connect(database.dsn) as waiting:
        await insert(busy, make_requests(3, 2))
        under_way = busy.transaction()
        await under_way.start()
        await refresh(busy)
        await busy.execute("SET application_name = 'segue refresh: 40%'")
        task = asyncio.create_task(
            refreshing.refresh(waiting, database.dsn, tell=heard.put_nowait, quiet_s=0)
        )
        assert await asyncio.wait_for(heard.get(), timeout=30) == "40%"
        assert not task.done()
        await under_way.commit()
        await task


async def test_a_refresh_says_how_far_it_is(database: PostgresServer) -> None:
    async with connect(database.dsn) as connection:
        await insert(connection, make_requests(3, 4))
        # Nothing is committed in between: a trigger takes down the name at that moment.
        await connection.execute(
            """
            CREATE TABLE seen (name text);
            CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN
                INSERT INTO seen VALUES (current_setting('application_name'));
                RETURN NULL;
            END $$;
            CREATE TRIGGER see AFTER INSERT ON listening_days EXECUTE FUNCTION see();
            """
        )
        try:
            await connection.execute("SELECT refresh_listening_days(1)")
            seen = await connection.fetch("SELECT name FROM seen")
            assert {row["name"] for row in seen} >= {"segue refresh: 0%", "segue refresh: 25%"}
            after = await connection.fetchval("SELECT current_setting('application_name')")
            assert "refresh" not in after
        finally:
            await connection.execute("DROP TABLE seen; DROP FUNCTION see CASCADE")


async def test_a_database_from_another_cluster_is_made_anew_once(
    database: PostgresServer,
) -> None:
    c = {EXPERIMENT: "C"}
    async with connect(database.dsn) as connection:
        await insert(connection, make_session(1, [1.0], experiments=c))
        await refresh(connection)
        # as numbered where more transactions had been
        await connection.execute("UPDATE events SET stored_in = 4e15")
        await connection.execute(
            "UPDATE listening_days_refreshed SET seen = '4000000000000001:4000000000000001:'"
        )
        await insert(connection, make_session(2, [1.0], experiments=c))
        assert await refresh(connection) == 2
        assert await refresh(connection) == 0
        await insert(connection, make_session(3, [1.0], experiments=c))
        assert await refresh(connection) == 1


async def test_whole_days_have_the_sessions_that_begin_on_them(database: PostgresServer) -> None:
    c, midnight = {EXPERIMENT: "C"}, datetime(2026, 3, 11, tzinfo=UTC)
    async with connect(database.dsn) as connection:
        over_midnight = midnight - SECOND
        await insert(
            connection,
            [
                *make_session(1, [1.0, 0.5, 0.25], experiments=c, at=over_midnight),
                *make_session(2, [1.0], experiments=c, at=midnight),
                *make_session(3, [1.0], experiments=c, at=midnight + timedelta(days=1)),
            ],
        )

    async def count(since: datetime, until: datetime) -> tuple[int, int]:
        async with open_database(database.dsn) as read_only:
            found = await fetch_measurements(read_only, EXPERIMENT, since=since, until=until)
        return sum(a.n_sessions for a in found.arms), sum(a.n_events for a in found.arms)

    assert await count(midnight - timedelta(days=1), midnight) == (1, 3)
    assert await count(midnight, midnight + timedelta(days=1)) == (1, 1)
    assert await count(midnight, midnight + timedelta(days=1, seconds=1)) == (3, 4)


async def test_who_may_only_read_sees_what_others_refreshed(known_log: PostgresServer) -> None:
    async with open_database(known_log.dsn) as connection:
        seen = await fetch_measurements(connection, EXPERIMENT)
    async with connect(known_log.dsn) as connection:
        await connection.execute("DROP ROLE IF EXISTS reader")
        await connection.execute("CREATE ROLE reader LOGIN")
        await connection.execute("GRANT pg_read_all_data TO reader")
    try:
        dsn = known_log.dsn.replace("postgres@", "reader@")
        async with open_database(dsn) as read_only:
            assert await fetch_measurements(read_only, EXPERIMENT) == seen
    finally:
        async with connect(known_log.dsn) as connection:
            await connection.execute("DROP ROLE reader")
