"""What happens when Redis is slow, gone, or back and empty."""

import asyncio
import time
from pathlib import Path

import httpx
from redis import Redis as SyncRedis

from deploy.local.servers import ValkeyServer
from shared.catalog_store import CATALOG_KEY
from tests.integration.recommender.conftest import OwnValkey, Proxy, Service, serving, until
from tests.unit.recommender.factories import make_tracks


def assert_unavailable(response: httpx.Response) -> None:
    assert response.status_code == 503
    assert response.headers["content-type"] == "application/problem+json"
    assert response.headers["retry-after"] == "1"


async def is_ready(service: Service) -> bool:
    return (await service.client.get("/health/ready")).status_code == 200


async def test_a_killed_redis_is_a_503_and_its_return_is_noticed(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    async with serving(tmp_path, own_valkey.server.url, deadline_s=5) as service:
        statuses: list[int] = []

        async def traffic() -> None:
            for _ in range(30):
                responses = await asyncio.gather(*(service.next(user) for user in range(8)))
                statuses.extend(response.status_code for response in responses)
                await asyncio.sleep(0.02)

        running = asyncio.create_task(traffic())
        await asyncio.sleep(0.2)
        own_valkey.kill()
        await asyncio.sleep(0.2)
        assert_unavailable(await service.next(1))
        assert not await is_ready(service)
        assert (await service.client.get("/health/live")).status_code == 200
        own_valkey.start()
        await running
        await until(lambda: is_ready(service))
        assert set(statuses) == {200, 503}
        responses = await asyncio.gather(*(service.next(user) for user in range(50, 80)))
        assert {response.status_code for response in responses} == {200}
        with SyncRedis.from_url(own_valkey.server.url) as redis:
            assert redis.get(CATALOG_KEY) == make_tracks().to_json_lines()


async def test_it_starts_without_redis_and_waits_for_it(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    own_valkey.kill()
    async with serving(tmp_path, own_valkey.server.url) as service:
        assert_unavailable(await service.next(1))
        own_valkey.start()
        await until(lambda: is_ready(service))
        assert (await service.next(1)).status_code == 200


async def test_a_flushed_redis_gets_the_catalogue_again(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    async with serving(tmp_path, own_valkey.server.url) as service:
        assert (await service.next(1)).status_code == 200
        with SyncRedis.from_url(own_valkey.server.url) as redis:
            redis.flushall()
            redis.script_flush()  # the commit must be sent anew
            assert (await service.next(1)).status_code == 200

            async def is_published() -> bool:
                return bool(redis.exists(CATALOG_KEY))

            await until(is_published)


async def test_another_catalogue_in_redis_is_replaced(
    redis: SyncRedis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    with SyncRedis.from_url(valkey.url) as sync:
        sync.set(CATALOG_KEY, make_tracks(5).to_json_lines())
        async with serving(tmp_path, valkey.url):
            assert sync.get(CATALOG_KEY) == make_tracks().to_json_lines()


async def test_a_paused_redis_is_a_503_within_the_deadline(
    own_valkey: OwnValkey, tmp_path: Path
) -> None:
    async with serving(tmp_path, own_valkey.server.url, deadline_s=0.1) as service:
        assert (await service.next(1)).status_code == 200
        with SyncRedis.from_url(own_valkey.server.url) as redis:
            redis.client_pause(2000)
        started = time.monotonic()
        responses = await asyncio.gather(*(service.next(user) for user in range(100)))
        assert time.monotonic() - started < 1.5
        for response in responses:
            assert_unavailable(response)
        await until(lambda: is_ready(service))
        assert (await service.next(1)).status_code == 200


async def test_a_late_reply_reaches_nobody_else(own_valkey: OwnValkey, tmp_path: Path) -> None:
    async with Proxy(own_valkey.server.port).running() as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with serving(tmp_path, url, deadline_s=0.15) as service:
            for user in range(10, 20):
                assert (await service.next(user)).status_code == 200
            for user in range(10, 20):
                proxy.is_open.clear()
                assert_unavailable(await service.next(user))
                proxy.is_open.set()
                answer = await service.next(user + 100)
                assert answer.json()["user"] == user + 100
            events = Service(service.client, own_valkey.server.url).events()
            for user in range(110, 120):
                assert [event.position for event in events if event.user == user] == [0]


async def test_a_lost_answer_can_be_asked_for_again(own_valkey: OwnValkey, tmp_path: Path) -> None:
    headers = {"Idempotency-Key": "k"}
    async with Proxy(own_valkey.server.port).running() as proxy:
        url = f"redis://127.0.0.1:{proxy.port}/0"
        async with serving(tmp_path, url) as service:
            assert (await service.next(1)).status_code == 200
            proxy.hold_after(0)  # the commit is written, its answer does not pass
            assert_unavailable(await service.next(1, headers=headers))
            proxy.is_open.set()
            again = await service.next(1, headers=headers)
            events = Service(service.client, own_valkey.server.url).events()
    assert [event.position for event in events] == [0, 1]
    assert again.json()["track"] == events[1].recommendation
