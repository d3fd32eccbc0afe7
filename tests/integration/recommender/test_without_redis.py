"""With a spool, listeners hear on while Redis is away, and nothing of it is lost."""

import asyncio
from itertools import pairwise
from pathlib import Path
from typing import Any

from redis import Redis as SyncRedis

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
