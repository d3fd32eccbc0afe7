from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from analysis.adapters.activity import fetch_minutes
from analysis.adapters.measurements import fetch_measurements, open_database
from analysis.adapters.timeline import fetch_timeline
from analysis.core.activity import Minute
from analysis.core.comparison import compare
from analysis.core.timeline import EffectAt, Timeline, accumulate_effects, count_sessions
from deploy.local.servers import PostgresServer
from tests.integration.analysis.log import START, insert, make_known_log, make_session

METRICS = (
    "time",
    "sessions",
    "mean_request_latency",
    "mean_tracks_per_session",
    "mean_time_per_session",
)


async def fetch(server: PostgresServer, *, n_intervals: int = 48) -> Timeline:
    async with open_database(server.dsn) as connection:
        return await fetch_timeline(
            connection,
            "RECOMMENDERS",
            first_at=START,
            last_at=START + timedelta(hours=1, seconds=2),
            n_intervals=n_intervals,
        )


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("n_intervals", [1, 48])
async def test_the_last_effect_over_time_is_that_of_the_comparison(
    known_log: PostgresServer, metric: str, n_intervals: int
) -> None:
    timeline = await fetch(known_log, n_intervals=n_intervals)
    async with open_database(known_log.dsn) as connection:
        comparison = compare(await fetch_measurements(connection, "RECOMMENDERS"))
    (effect,) = [effect for effect in comparison.effects if effect.metric == metric]
    last = accumulate_effects(timeline, control="C", metric=metric)["T1"][-1].effect
    for name in ("effect_pct", "control_mean", "treatment_mean", "lower_pct", "n_treatment"):
        assert getattr(last, name) == pytest.approx(getattr(effect, name)), name


async def test_sessions_count_where_they_begin_and_conflicts_nowhere(
    known_log: PostgresServer,
) -> None:
    timeline = await fetch(known_log)
    assert timeline.width == timedelta(minutes=2)
    assert timeline.starts_at == (START, START + timedelta(hours=1))
    assert count_sessions(timeline) == {"C": (2, 1), "T1": (2, 0)}


async def test_days_say_what_events_say(
    connection: asyncpg.Connection, database: PostgresServer
) -> None:
    for user in range(6):
        for day in range(user, 12, 3):
            await insert(
                connection,
                make_session(
                    user,
                    [1.0, 0.1 * user, 0.05 * day],
                    experiments={"RECOMMENDERS": "T1" if user % 2 else "C"},
                    at=datetime(2026, 3, 10, user, tzinfo=UTC) + timedelta(days=day),
                ),
            )

    async def effects(n_intervals: int) -> tuple[timedelta, list[EffectAt]]:
        async with open_database(database.dsn) as reader:
            timeline = await fetch_timeline(
                reader,
                "RECOMMENDERS",
                first_at=datetime(2026, 3, 10, tzinfo=UTC),
                last_at=datetime(2026, 3, 21, 12, tzinfo=UTC),
                n_intervals=n_intervals,
            )
        return timeline.width, [
            point
            for metric in METRICS
            for point in accumulate_effects(timeline, control="C", metric=metric)["T1"]
        ]

    (days, of_days), (hours, of_events) = await effects(48), await effects(12 * 24 + 1)
    assert (days, hours) == (timedelta(days=1), timedelta(hours=1))
    by_end = {(point.effect.metric, point.at): point.effect for point in of_events}
    ends = sorted({at for _, at in by_end})
    for point in of_days:
        latest = max(end for end in ends if end <= point.at)
        same = by_end[point.effect.metric, latest]
        for name in ("effect_pct", "control_mean", "treatment_mean", "lower_pct", "n_treatment"):
            assert getattr(point.effect, name) == pytest.approx(getattr(same, name)), name


async def test_an_experiment_that_no_event_names_has_no_steps(database: PostgresServer) -> None:
    assert (await fetch(database)).steps == ()


async def test_minutes_without_events_are_there_too(
    connection: asyncpg.Connection, database: PostgresServer
) -> None:
    await insert(connection, make_known_log())
    late = make_session(9, [1.0, 0.5, 0.5], experiments={}, at=START + timedelta(minutes=59))
    late[0]["fallback"] = "contextual:no_model"
    await insert(connection, late)
    now = START + timedelta(hours=1, seconds=30)
    async with open_database(database.dsn) as reader:
        minutes = await fetch_minutes(reader, now=now, n_minutes=3)
    assert minutes == [
        Minute(START + timedelta(minutes=58), 0, 0, 0),
        Minute(START + timedelta(minutes=59), 3, 2, 1),
        Minute(START + timedelta(hours=1), 4, 2, 0),
    ]
