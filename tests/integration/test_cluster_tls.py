"""A Redis Cluster that asks for TLS and a password, from a request to its row."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from redis.exceptions import RedisError

from deploy.local.servers import PostgresServer
from services.recommender.adapters.redis_cluster import RedisClusterConnection
from shared.artifacts import LATEST_KEY
from shared.redis_client import create_redis
from shared.redis_place import parse_redis_url
from shared.settings import RedisSettings
from tests.cluster import N_NODES, N_SHARDS, Cluster, forming, make_nodes
from tests.integration.circle import (
    USERS,
    assert_every_event_is_one_row,
    calling,
    logging_to,
    play,
)
from tests.integration.recommender.conftest import serving
from tests.tls import Authority, authority

__all__ = ["authority"]

PASSWORD = "s3cret/:@"


@pytest.fixture
async def address(authority: Authority, tmp_path: Path) -> AsyncIterator[str]:
    """Return the address of a cluster that is to be had over TLS, by whom has a password, alone."""
    nodes = make_nodes(tmp_path / "cluster", N_NODES)
    async with contextlib.AsyncExitStack() as stack:
        for node in nodes:
            guard = authority.guarding(node.port)
            node.announced_port = await stack.enter_async_context(guard)
        running = forming(Cluster(nodes))
        await asyncio.to_thread(running.__enter__)
        stack.callback(running.__exit__, None, None, None)
        for node in nodes:
            with node.open() as redis:
                redis.execute_command("ACL SETUSER", "guest", "on", f">{PASSWORD}", "~*", "+@all")
                redis.execute_command("ACL SETUSER", "default", "off")
        seeds = ",".join(f"127.0.0.1:{node.announced_port}" for node in nodes[:2])
        yield f"rediss+cluster://guest@{seeds}/?shards={N_SHARDS}"


def url_of(address: str, authority: Authority | None, password: str = PASSWORD) -> str:
    trusted = f"&ssl_ca_certs={authority.certificate}" if authority else ""
    settings = RedisSettings(SEGUE_REDIS_URL=address + trusted, SEGUE_REDIS_PASSWORD=password)
    return settings.redis_url


async def test_the_circle_turns_on_a_cluster_behind_tls(
    address: str, authority: Authority, database: PostgresServer, tmp_path: Path
) -> None:
    url = url_of(address, authority)
    async with (
        serving(tmp_path, url, deadline_s=5) as service,
        calling(logging_to(database, url)) as logger,
    ):
        await asyncio.gather(*(play(service, user) for user in USERS))
        await assert_every_event_is_one_row(database)
        assert (await logger.get("/health/ready")).status_code == 200
        assert (await service.client.get("/health/ready")).status_code == 200


async def ask_on_the_serving_path(url: str) -> None:
    redis = RedisClusterConnection(parse_redis_url(url).urls)
    try:
        await redis.execute("GET", LATEST_KEY)
    finally:
        redis.close()


async def ask_off_the_serving_path(url: str) -> None:
    async with create_redis(url) as redis:
        await redis.get(LATEST_KEY)


async def test_who_trusts_another_authority_or_has_no_password_is_told_so(
    address: str, authority: Authority
) -> None:
    for ask in (ask_on_the_serving_path, ask_off_the_serving_path):
        await ask(url_of(address, authority))
        with pytest.raises((OSError, RedisError), match="certificate"):
            await ask(url_of(address, None))
        with pytest.raises((OSError, RedisError), match=r"username-password|WRONGPASS"):
            await ask(url_of(address, authority, password="guess"))
