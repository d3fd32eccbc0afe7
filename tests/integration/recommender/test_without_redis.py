"""With a spool, listeners hear on while Redis is away, and nothing of it is lost."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from time import monotonic
from typing import Any

from redis import Redis as SyncRedis
from redis.asyncio import Redis

from deploy.local.servers import ValkeyServer
from services.recommender.adapters.commit_spool import Commit, CommitSpool
from services.recommender.adapters.recent_states import RecentStates
from services.recommender.adapters.redis_connection import RedisConnection
from services.recommender.adapters.session_store import RedisSessionStore
from services.recommender.adapters.spooling_store import SpoolingSessionStore
from shared.event_stream import STREAM_KEY
from shared.events import make_event_id
from shared.tasks import in_background
from tests.integration.recommender.conftest import OwnValkey, Proxy, Service, serving, until
from tests.unit.recommender.factories import FIRST_ID

FAULT = "sessions:unavailable"


async def play(service: Service, user: int, n: int) -> list[dict[str, Any]]:
    """Play on from whatever was recommended."""
    answers: list[dict[str, Any]] = []
    track = FIRST_ID
    for _ in range(n):
        response = await service.next(user, track)
        assert response.status_code == 200, response.text
        answers.append(response.json())
        track = answers[-1]["track"]
    return answers


def assert_one_session(service: Service, user: int, n: int) -> None:
    """Assert that a listener's events are one session, every position there."""
    events = {event.event_id: event for event in service.events() if event.user == user}
    assert sorted(event.position for event in events.values()) == list(range(n))
    assert len({event.session for event in events.values()}) == 1


async def delivered(service: Service) -> bool:
    text = (await service.client.get("/metrics")).text
    return "segue_spooled_commits 0.0" in text


async def test_sessions_go_on_while_redis_is_away(own_valkey: OwnValkey, tmp_path: Path) -> None:
    url = own_valkey.server.url
    async with serving(tmp_path, url, spool=tmp_path / "spool", rest_s=0.05) as service:
        before = await play(service, 1, 3)
        own_valkey.kill()
        during = await play(service, 1, 4)
        new = await play(service, 2, 2)
        assert not await delivered(service)
        assert (await service.client.get("/health/ready")).status_code == 200
        own_valkey.start()
        await until(lambda: delivered(service))
        after = await play(service, 1, 2)
        await play(service, 2, 1)
        with SyncRedis.from_url(url) as redis:
            assert redis.ttl("segue:session:1") > 1700
        # The server that came back is empty: what it had stored is gone with it, not the session.
        events = [event for event in service.events() if event.user == 1]
        assert [event.position for event in events] == list(range(3, 9))
        assert_one_session(service, 2, 3)
    answers = before + during + after
    assert len({answer["session"] for answer in answers}) == 1
    told = [FAULT in answer.get("fallback", "") for answer in answers]
    del told[3]  # it found out: decided on what Redis had last, by its connection being lost or not
    assert told == [*[False] * 3, *[True] * 3, *[False] * 2]
    assert all(FAULT in answer["fallback"] for answer in new)


async def test_a_hung_redis_costs_one_deadline_and_no_event(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    async with Proxy(own_valkey.server.port).running() as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        options = {"spool": tmp_path / "spool", "deadline_s": 0.2, "rest_s": 0.5}
        async with serving(tmp_path, url, **options) as front:
            service = Service(front.client, own_valkey.server.url)
            await asyncio.gather(*(play(service, user, 2) for user in range(20)))
            proxy.hold_after(3)  # somewhere in between: some commits get through unanswered
            await asyncio.gather(*(play(service, user, 5) for user in range(20)))
            proxy.is_open.set()
            await until(lambda: delivered(front))
            await asyncio.gather(*(play(service, user, 1) for user in range(20)))
            for user in range(20):
                assert_one_session(service, user, 8)


async def test_a_restarted_service_delivers_what_the_last_one_spooled(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    url, spool = own_valkey.server.url, tmp_path / "spool"
    async with serving(tmp_path, url, spool=spool) as service:
        first = await play(service, 1, 2)
        own_valkey.kill()
        first += await play(service, 1, 2)
    async with serving(tmp_path, url, spool=spool, rest_s=0.05) as service:
        second = await play(service, 1, 2)  # from the spool: Redis is still away
        own_valkey.start()
        await until(lambda: delivered(service))
        events = service.events()
    assert {answer["session"] for answer in first + second} == {first[0]["session"]}
    assert [event.position for event in events] == [2, 3, 4, 5]
    chosen = [event.recommendation for event in events]
    assert chosen == [answer["track"] for answer in first[2:] + second]
    assert all(a.timestamp <= b.timestamp for a, b in pairwise(events))


async def test_a_living_worker_delivers_what_a_dead_one_spooled(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    dead = CommitSpool(tmp_path, max_bytes=10_000)
    living = CommitSpool(tmp_path, max_bytes=10_000)
    dead.append(Commit(user=1, before=b"", after=b"t" * 16, event=b"event"))
    recent = RecentStates(tmp_path / "1.recent", max_age_s=60)
    store = RedisSessionStore(
        RedisConnection(valkey.url), timeout_s=60, deadline_s=5, states=recent
    )
    spooling = SpoolingSessionStore(
        store, living, recent, seconds=monotonic, rest_s=0.05, adopt_s=0.05
    )
    async with in_background(spooling.deliver()):
        await asyncio.sleep(0.1)
        assert await redis.xlen(STREAM_KEY) == 0  # its process lives: it will deliver by itself
        dead.close()

        async def is_there() -> bool:
            return bool(await redis.xlen(STREAM_KEY))

        await until(is_there)
    assert not recent.is_spooled(1)
    await spooling.close()
    assert await redis.get("segue:session:1") == b"t" * 16


async def test_a_session_goes_on_at_whichever_worker_while_redis_is_away(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    url = own_valkey.server.url
    options = {"spool": tmp_path / "spool", "rest_s": 0.05}
    async with serving(tmp_path, url, **options) as one, serving(tmp_path, url, **options) as other:
        workers = itertools.cycle([one, other])
        track = FIRST_ID

        async def play_on(n: int) -> None:
            nonlocal track
            for _ in range(n):
                response = await next(workers).next(1, track)
                assert response.status_code == 200
                track = response.json()["track"]

        await play_on(3)
        own_valkey.kill()
        await play_on(5)
        own_valkey.start()
        await until(lambda: delivered(one))
        await until(lambda: delivered(other))
        await play_on(3)
        events = sorted(one.events(), key=lambda event: event.position)
    # The server that came back is empty; the two deliver in any order.
    assert [event.position for event in events] == list(range(3, 11))
    assert len({event.session for event in events}) == 1
    assert all(a.recommendation == b.track for a, b in pairwise(events))


async def test_what_ended_at_one_worker_is_not_resumed_by_the_others_late_step(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    url = own_valkey.server.url
    options = {"spool": tmp_path / "spool", "rest_s": 0.05}
    async with serving(tmp_path, url, **options) as one, serving(tmp_path, url, **options) as other:
        await play(one, 1, 1)
        own_valkey.kill()
        first = await play(one, 1, 1)
        await asyncio.sleep(0.005)  # two steps of one millisecond have no order
        assert (await other.last(1)).status_code == 200
        own_valkey.start()
        await until(lambda: delivered(other))
        await until(lambda: delivered(one))
        again = await play(one, 1, 1)
    assert again[0]["session"] != first[0]["session"]


async def test_a_full_spool_refuses(own_valkey: OwnValkey, tmp_path: Path) -> None:
    own_valkey.kill()
    options = {"spool": tmp_path / "spool", "spool_bytes": 1500}
    async with serving(tmp_path, own_valkey.server.url, **options) as service:
        statuses = [(await service.next(user)).status_code for user in range(10)]
        assert statuses[0] == 200
        assert statuses[-1] == 503
        own_valkey.start()
        await until(lambda: delivered(service))
        assert (await service.next(50)).status_code == 200
        n_answered = statuses.count(200)
        assert len([event for event in service.events() if event.user < 10]) == n_answered


async def test_a_closed_session_stays_closed(own_valkey: OwnValkey, tmp_path: Path) -> None:
    async with serving(
        tmp_path, own_valkey.server.url, spool=tmp_path / "spool", rest_s=0.05
    ) as service:
        answers = await play(service, 1, 2)
        own_valkey.kill()
        assert (await service.last(1)).status_code == 200
        answers += await play(service, 1, 1)
        own_valkey.start()
        await until(lambda: delivered(service))
        answers += await play(service, 1, 1)
    sessions = [answer["session"] for answer in answers]
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3]


async def test_late_states_of_one_millisecond_end_with_the_last(
    redis: Redis, valkey: ValkeyServer
) -> None:
    """Two workers deliver what they spooled each in its order, but not in that of the session."""
    at = datetime(2026, 3, 10, 12, tzinfo=UTC)
    tags = [make_event_id(at + timedelta(microseconds=200 * n)).bytes for n in range(4)]
    store = RedisSessionStore(RedisConnection(valkey.url), timeout_s=60, deadline_s=5)
    chain = [
        Commit(user=1, before=before, after=after + b"state", event=b"event")
        for before, after in pairwise([b"", *tags])
    ]
    for commit in (chain[0], chain[2], chain[1], chain[3]):
        await store.write(commit)
    assert await redis.get("segue:session:1") == tags[3] + b"state"
    await redis.delete("segue:session:1")
    for commit in (chain[3], chain[0], chain[2], chain[1]):
        await store.write(commit)
    assert await redis.get("segue:session:1") == tags[3] + b"state"
    await store.close()
