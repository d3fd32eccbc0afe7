"""How everything off the serving path connects to Redis."""

from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.cluster import ClusterNode, RedisCluster
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.redis_place import parse_redis_url

_RETRIES = 3


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
    cluster: Any = RedisCluster.from_url(
        place.urls[0], startup_nodes=nodes, require_full_coverage=False, **options
    )
    return cluster
