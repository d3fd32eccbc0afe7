"""The same aggregates from SQL and from pandas, on logs that hypothesis makes up."""

from datetime import timedelta
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from analysis.adapters.measurements import DatabaseError, fetch_measurements, open_database
from analysis.core.comparison import Measurements
from analysis.core.metrics import METRICS
from deploy.local.servers import PostgresServer
from tests.integration.analysis.log import START, Row, connect, insert, make_session

EXPERIMENT = "RECOMMENDERS"
sessions = st.lists(
    st.fixed_dictionaries(
        {
            "user": st.integers(0, 5),
            "treatment": st.sampled_from(["by user", "by user", "by user", "T1", None]),
            "times": st.lists(st.floats(0, 1), min_size=1, max_size=5),
            "latency": st.floats(0, 1, width=32),
            "finished": st.booleans(),
        }
    ),
    max_size=12,
)


def make_log(drawn: list[dict[str, Any]]) -> list[Row]:
    rows: list[Row] = []
    for number, session in enumerate(drawn):
        treatment = session["treatment"]
        if treatment == "by user":
            treatment = "T1" if session["user"] % 2 else "C"
        rows += make_session(
            session["user"],
            session["times"],
            experiments={"OTHER": "C"} | ({EXPERIMENT: treatment} if treatment else {}),
            at=START + timedelta(minutes=number),
            latencies=[session["latency"]] * len(session["times"]),
            finished=session["finished"],
        )
    return rows


def measure_by_pandas(rows: list[Row]) -> tuple[pd.DataFrame, int]:
    """Return count, mean and variance per treatment and metric, and the users in conflict."""
    frame = pd.DataFrame(rows)
    frame["treatment"] = frame["experiments"].str.extract(rf'"{EXPERIMENT}": "(\w+)"')[0]
    frame = frame.dropna(subset="treatment")
    n_arms = frame.groupby("user_id")["treatment"].transform("nunique")
    n_conflicts = frame.loc[n_arms > 1, "user_id"].nunique()
    frame = frame[n_arms == 1]
    requests = frame[frame["message"] == "next"]
    by_user = frame.groupby(["treatment", "user_id"])
    users = pd.DataFrame({"time": by_user["time"].sum()})
    users["sessions"] = by_user["session_id"].nunique()
    users["mean_request_latency"] = (
        requests.groupby(["treatment", "user_id"])["latency"].mean() * 1000
    )
    users["mean_tracks_per_session"] = by_user.size() / users["sessions"]
    users["mean_time_per_session"] = users["time"] / users["sessions"]
    return users.groupby("treatment").agg(["count", "mean", "var"]), n_conflicts


async def measure_by_sql(database: PostgresServer, rows: list[Row]) -> Measurements:
    async with connect(database.dsn) as connection:
        await connection.execute("TRUNCATE events")
        if rows:
            await insert(connection, rows)
    async with open_database(database.dsn) as read_only:
        return await fetch_measurements(read_only, EXPERIMENT)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(drawn=sessions)
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
    assert {arm.treatment for arm in measurements.arms} == set(expected.index)
    for treatment, row in expected.iterrows():
        for metric in METRICS:
            aggregate = measurements.metrics[str(treatment), metric.name]
            assert aggregate.n_users == row[metric.name, "count"]
            assert nan_to_none(row[metric.name, "mean"]) == pytest.approx(aggregate.mean)
            assert nan_to_none(row[metric.name, "var"]) == pytest.approx(
                aggregate.variance, abs=1e-9
            )


def nan_to_none(value: float) -> float | None:
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
