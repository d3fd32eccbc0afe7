"""What every session store keeps: the real ones, and the one that tests use."""

import time
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

import pytest
from redis import Redis as SyncRedis

from deploy.local.servers import ValkeyServer
from services.recommender.adapters.commit_spool import CommitSpool
from services.recommender.adapters.recent_states import RecentStates
from services.recommender.adapters.redis_cluster import RedisClusterConnection
from services.recommender.adapters.redis_connection import RedisConnection
from services.recommender.adapters.session_store import RedisSessionStore, SessionStore
from services.recommender.adapters.sharded_store import ShardedSessionStore
from services.recommender.adapters.spooling_store import SpoolingSessionStore
from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import Receipt, Report, Session, UserState
from shared.events import Event, make_event_id
from shared.redis_place import parse_redis_url
from tests.unit.recommender.factories import MemorySessionStore

NOW = datetime(2024, 5, 1, tzinfo=UTC)
REPORT = Report("next", 1, 100, 0.5, "key")
STATE = UserState(Session(UUID(int=5), 100, 1, (100, 101)), Receipt(REPORT, b"{}"))
EVENT = Event(
    event_id=make_event_id(NOW),
    message="last",
    timestamp=NOW,
    user=1,
    session=UUID(int=5),
    position=0,
    track=100,
    time=1.0,
)


@pytest.fixture(params=["memory", "redis", "cluster", "spooling", "spooling without redis"])
async def store(
    request: pytest.FixtureRequest, valkey: ValkeyServer, tmp_path: Path
) -> AsyncIterator[SessionStore]:
    """Return each store, empty."""
    if request.param == "memory":
        yield MemorySessionStore()
        return
    if request.param == "cluster":
        place = parse_redis_url(request.getfixturevalue("cluster").url)
        redis = RedisSessionStore(
            RedisClusterConnection(place.urls), timeout_s=60, deadline_s=5, n_shards=place.n_shards
        )
        yield ShardedSessionStore([redis] * place.n_shards)
        await redis.close()
        return
    with SyncRedis.from_url(valkey.url) as sync:
        sync.flushall()
    url = "redis://127.0.0.1:1/0" if request.param == "spooling without redis" else valkey.url
    real: SessionStore
    recent = None
    if request.param != "redis":
        recent = RecentStates(tmp_path / "0.recent", max_age_s=60)
    real = redis = RedisSessionStore(
        RedisConnection(url), timeout_s=60, deadline_s=5, states=recent
    )
    if recent is not None:
        spool = CommitSpool(tmp_path, max_bytes=10_000)
        real = SpoolingSessionStore(redis, spool, recent, seconds=time.monotonic, rest_s=60)
    yield real
    await real.close()


def giving(outcome: Outcome, seen: list[UserState | None]) -> Callable[..., Outcome]:
    """Return a transition that notes what it got."""

    def transition(state: UserState | None, _: str | None) -> Outcome:
        seen.append(state)
        return outcome

    return transition


async def test_a_state_comes_back_as_it_was(store: SessionStore) -> None:
    seen: list[UserState | None] = []
    await store.update(1, giving(Outcome(b"", STATE, EVENT), seen))
    await store.update(1, giving(Outcome(b"", STATE, EVENT), seen))
    assert seen == [None, STATE]


async def test_no_state_deletes(store: SessionStore) -> None:
    seen: list[UserState | None] = []
    await store.update(1, giving(Outcome(b"", STATE, EVENT), seen))
    await store.update(1, giving(Outcome(b"", None, EVENT), seen))
    await store.update(1, giving(Outcome(b"", None, EVENT), seen))
    assert seen == [None, STATE, None]


async def test_listeners_are_apart(store: SessionStore) -> None:
    seen: list[UserState | None] = []
    await store.update(1, giving(Outcome(b"", STATE, EVENT), seen))
    await store.update(2, giving(Outcome(b"", STATE, EVENT), seen))
    assert seen == [None, None]


async def test_without_an_event_nothing_is_written(store: SessionStore) -> None:
    seen: list[UserState | None] = []
    outcome = Outcome(b"answer", STATE, None)
    assert await store.update(1, giving(outcome, seen)) == outcome
    await store.update(1, giving(outcome, seen))
    assert seen == [None, None]


async def test_a_transition_that_fails_changes_nothing(store: SessionStore) -> None:
    def fail(_: UserState | None, __: str | None) -> Outcome:
        raise LookupError

    with pytest.raises(LookupError):
        await store.update(1, fail)
    seen: list[UserState | None] = []
    await store.update(1, giving(Outcome(b"", None, EVENT), seen))
    assert seen == [None]


async def test_it_answers_a_ping(store: SessionStore) -> None:
    await store.ping()
