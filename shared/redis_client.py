"""How everything off the serving path connects to Redis."""

from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.artifacts import MODELS_KEY
from shared.redis_place import parse_redis_url
from shared.slot_connection import Directory, SlotConnection, SlotSSLConnection

_RETRIES = 3


def create_redis(url: str, *, timeout_s: float | None = None, key: str = MODELS_KEY) -> Redis:
    """Create a client, its answers undecoded, that outlives a restart of Redis.

    By default redis-py reports a pooled connection that died meanwhile to whoever takes it next.
    Here the command is tried again on a new one. It may thus be done twice: commands of ours can.

    Args:
        url: Of Redis, or of a cluster.
        timeout_s: Of connecting, and of each answer; without: none.
        key: Of a cluster, the client speaks to the node that has this key's slot, and so of all
            keys with the same hash tag: by default those of models and catalogue.

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
    options |= parse_url(place.urls[0])
    is_tls = options.pop("connection_class", None) is SSLConnection
    pool = ConnectionPool(
        connection_class=SlotSSLConnection if is_tls else SlotConnection,
        directory=Directory(place.urls, key),
        **options,
    )
    return Redis.from_pool(pool)
