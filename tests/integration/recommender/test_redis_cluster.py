"""The recommender on a real Redis Cluster: slots that move, nodes that die and come back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis import Redis as SyncRedis
from redis.crc import key_slot
from redis.exceptions import ResponseError

from services.recommender.adapters.redis_cluster import RedisClusterConnection
from services.recommender.adapters.stored_state import make_shards
from shared.redis_place import parse_redis_url
from tests.cluster import N_SHARDS, Cluster, Node
from tests.conftest import free_port
from tests.integration.recommender.conftest import Service, serving, until
from tests.unit.recommender.factories import FIRST_ID

KEY = "segue:{x}:key"
SET = ("EVAL", "return redis.call('SET', KEYS[1], ARGV[1])", 1, KEY)
USERS = range(4 * N_SHARDS)


@pytest.fixture
async def redis(cluster: Cluster) -> AsyncIterator[RedisClusterConnection]:
    """Return a connection to the cluster."""
    redis = RedisClusterConnection(parse_redis_url(cluster.url).urls)
    yield redis
    redis.close()


def stream_of(user: int) -> str:
    return make_shards(N_SHARDS)[user % N_SHARDS][1]


def users_of(node: Node, cluster: Cluster) -> set[int]:
    return {user for user in USERS if cluster.owner_of(stream_of(user)) is node}


def stored_events(cluster: Cluster) -> int:
    """Count the entries of all streams."""
    found = 0
    for _, stream in make_shards(N_SHARDS):
        with SyncRedis(port=cluster.owner_of(stream).port) as at_owner:
            found += at_owner.xlen(stream)
    return found


async def test_keys_are_found_on_every_node(
    redis: RedisClusterConnection, cluster: Cluster
) -> None:
    keys = [f"key {n}" for n in range(100)]
    script = "return redis.call('SET', KEYS[1], KEYS[1])"
    await asyncio.gather(*(redis.execute("EVAL", script, 1, key) for key in keys))
    found = await asyncio.gather(*(redis.execute("GET", key) for key in keys))
    assert [value.decode() for value in found] == keys
    for node in cluster.nodes:
        with node.open() as at_node:
            assert at_node.dbsize() > 10
    assert await redis.execute("PING") == b"PONG"


async def test_a_node_that_is_away_is_no_matter_at_the_start(cluster: Cluster) -> None:
    away = f"redis://127.0.0.1:{free_port()}/0"
    redis = RedisClusterConnection([away, *parse_redis_url(cluster.url).urls])
    assert await redis.execute("GET", KEY) is None
    assert await redis.execute("PING") == b"PONG"
    redis.close()


async def test_a_silent_node_keeps_one_question_from_the_others_and_no_second(
    redis: RedisClusterConnection, cluster: Cluster
) -> None:
    cluster.nodes[0].freeze()
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await redis.execute("PING")
        assert await redis.execute("PING") == b"PONG"
    finally:
        cluster.nodes[0].thaw()


async def test_without_any_node_a_command_fails_at_once() -> None:
    redis = RedisClusterConnection([f"redis://127.0.0.1:{free_port()}/0"])
    for words in (("GET", KEY), ("PING",)):
        with pytest.raises(OSError, match=r"slot|[Cc]onnect"):
            await redis.execute(*words)
    redis.close()


async def test_keys_of_two_slots_are_refused_as_redis_does(redis: RedisClusterConnection) -> None:
    with pytest.raises(ResponseError, match="CROSSSLOT"):
        await redis.execute("EVAL", "return 1", 2, "a", "b")


async def test_a_slot_is_followed_while_it_moves_and_after(
    redis: RedisClusterConnection, cluster: Cluster
) -> None:
    slot = key_slot(KEY.encode())
    await redis.execute(*SET, "before")
    source, target = await asyncio.to_thread(cluster.begin_to_move, KEY)
    assert await redis.execute("GET", KEY) == b"before"  # still at its old node
    await asyncio.to_thread(cluster.move_keys, slot, source, target)
    assert await redis.execute("GET", KEY) == b"before"  # ASK
    await asyncio.gather(*(redis.execute(*SET, f"{n}") for n in range(20)))
    assert await redis.execute("GET", KEY) == b"19"
    with target.open() as at_target:
        assert at_target.execute_command("CLUSTER", "COUNTKEYSINSLOT", slot) == 1
    await asyncio.to_thread(cluster.end_move, KEY, source, target)
    assert await redis.execute("GET", KEY) == b"19"  # MOVED
    other, back = await asyncio.to_thread(cluster.begin_to_move, KEY)
    await asyncio.to_thread(cluster.end_move, KEY, other, back)
    assert await redis.execute("GET", KEY) == b"19"


async def test_a_command_waits_until_its_keys_are_together(
    redis: RedisClusterConnection, cluster: Cluster
) -> None:
    both = ("EVAL", "return redis.call('MGET', KEYS[1], KEYS[2])", 2, KEY, "segue:{x}:other")
    await redis.execute(*SET, "here")
    source, target = await asyncio.to_thread(cluster.begin_to_move, KEY)
    waiting = asyncio.create_task(redis.execute(*both))  # TRYAGAIN: the other key is nowhere
    await asyncio.sleep(0.05)
    assert not waiting.done()
    await asyncio.to_thread(cluster.end_move, KEY, source, target)
    assert await waiting == [b"here", None]


async def play(service: Service, users: set[int], n: int) -> None:
    """Let listeners play on from whatever is recommended."""

    async def one(user: int) -> None:
        track = FIRST_ID
        for _ in range(n):
            response = await service.next(user, track)
            assert response.status_code == 200, response.text
            track = response.json()["track"]

    await asyncio.gather(*map(one, users))


async def test_listeners_hear_on_while_their_slots_move(cluster: Cluster, tmp_path: Path) -> None:
    users, streams = set(USERS), [stream_of(user) for user in range(N_SHARDS)]

    def move_all() -> None:
        for stream in streams:
            source, target = cluster.begin_to_move(stream)
            cluster.end_move(stream, source, target)

    async with serving(tmp_path, cluster.url, deadline_s=10) as service:
        await play(service, users, 2)
        await asyncio.gather(play(service, users, 20), asyncio.to_thread(move_all))
        await play(service, users, 1)
    assert stored_events(cluster) == 23 * len(users)


async def test_only_the_listeners_of_a_dead_node_wait_for_it(
    cluster: Cluster, tmp_path: Path
) -> None:
    dead = cluster.nodes[1]
    theirs = users_of(dead, cluster)
    others = set(USERS) - theirs
    assert theirs
    assert others
    async with serving(tmp_path, cluster.url, deadline_s=2) as service:
        await play(service, set(USERS), 2)
        dead.kill()
        await play(service, others, 2)
        user = min(theirs)
        assert (await service.next(user)).status_code == 503
        dead.start()
        await asyncio.to_thread(cluster.wait_until_whole)
        await until(lambda: _is_served(service, user))
        await play(service, theirs, 1)
        last = await service.last(user)
    assert last.json()["session"]
    events = stored_events(cluster)
    assert events == 2 * len(USERS) + 2 * len(others) + len(theirs) + 2


async def _is_served(service: Service, user: int) -> bool:
    return (await service.next(user)).status_code == 200


async def test_with_a_spool_the_listeners_of_a_dead_node_hear_on(
    cluster: Cluster, tmp_path: Path
) -> None:
    dead = cluster.nodes[2]
    theirs = users_of(dead, cluster)
    options = {"spool": tmp_path / "spool", "rest_s": 0.05, "deadline_s": 2}
    async with serving(tmp_path, cluster.url, **options) as service:
        await play(service, set(USERS), 2)
        dead.kill()
        await play(service, set(USERS), 2)
        spooled = await service.client.get("/metrics")
        assert f"segue_spooled_commits {2 * len(theirs)}.0" in spooled.text
        dead.start()
        await asyncio.to_thread(cluster.wait_until_whole)
        await until(lambda: _is_delivered(service))
        await play(service, set(USERS), 1)
    assert stored_events(cluster) == 5 * len(USERS)


async def _is_delivered(service: Service) -> bool:
    return "segue_spooled_commits 0.0" in (await service.client.get("/metrics")).text
