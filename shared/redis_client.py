"""How everything off the serving path connects to Redis."""

import contextlib
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisClusterException

from shared.redis_place import parse_redis_url

_RETRIES = 3


class _Cluster(RedisCluster):  # type: ignore[misc]  # redis-py is Any here
    """A cluster's client that connects when it is used, and whose failures are errors of Redis.

    redis-py's looks for the cluster when its block is entered, and has errors for a cluster that it
    cannot find which are of no kind of Redis' errors.
    """

    async def __aenter__(self) -> "_Cluster":
        """Look for nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close all connections."""
        await self.aclose()

    async def initialize(self, *arguments: Any, **options: Any) -> Any:
        """Look for the nodes, unless they are known."""
        with _as_redis_errors():
            return await super().initialize(*arguments, **options)

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:
        """Send a command to the node that has its key."""
        with _as_redis_errors():
            return await super().execute_command(*arguments, **options)


@contextlib.contextmanager
def _as_redis_errors() -> Iterator[None]:
    try:
        yield
    except RedisClusterException as error:
        raise RedisConnectionError(str(error)) from error


def create_redis(url: str, *, timeout_s: float | None = None) -> Redis:
    """Create a client, its answers undecoded, that outlives a restart of Redis.

    By default redis-py reports a pooled connection that died meanwhile to whoever takes it next.
    Here the command is tried again on a new one. It may thus be done twice: commands of ours can.

    Args:
        url: Of Redis, or of a cluster, whose client answers the same calls.
        timeout_s: Of connecting, and of each answer; without: none.

    Raises:
        ValueError: If it is no such URL.
    """
    place = parse_redis_url(url)
    options: dict[str, Any] = {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), _RETRIES),
    }
    if not place.n_shards:
        return Redis.from_url(url, **options)
    nodes = [ClusterNode(at.hostname, at.port or 6379) for at in map(urlsplit, place.urls)]
    # A part of the cluster that is away must not keep us from the rest.
    cluster: Any = _Cluster.from_url(
        place.urls[0], startup_nodes=nodes, require_full_coverage=False, **options
    )
    return cluster
