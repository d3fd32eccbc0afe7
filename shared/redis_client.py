"""How everything off the serving path connects to Redis."""

from typing import Any

from redis.asyncio import ConnectionPool, Redis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

from shared.artifacts import MODELS_KEY
from shared.primary_connection import PrimaryConnection, PrimarySSLConnection
from shared.redis_place import parse_redis_url
from shared.slot_connection import Directory, SlotConnection, SlotSSLConnection

TIMEOUT_S = 5.0

_RETRIES = 3


def create_redis(url: str, *, timeout_s: float = TIMEOUT_S, key: str = MODELS_KEY) -> Redis:
    """Create a client, its answers undecoded, that outlives a restart or a failover of Redis.

    By default redis-py reports a pooled connection that died meanwhile to whoever takes it next.
    Here the command is tried again on a new one. It may thus be done twice: commands of ours can.

    Args:
        url: Of Redis, or of a cluster.
        timeout_s: Of connecting, and of each answer: a server that has died without a word is left
            after that. Longer than any command of the client may wait.
        key: Of a cluster, the client speaks to the node that has this key's slot, and so of all
            keys with the same hash tag: by default those of models and catalogue.

    Raises:
        ValueError: If it is no such URL.
    """
    place = parse_redis_url(url)
    options: dict[str, Any] = parse_url(place.urls[0])
    is_tls = options.pop("connection_class", None) is SSLConnection
    options |= {
        "socket_timeout": timeout_s,
        "socket_connect_timeout": timeout_s,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), _RETRIES),
    }
    if place.n_shards:
        options["directory"] = Directory(place.urls, key)
        connection_class = SlotSSLConnection if is_tls else SlotConnection
    else:
        connection_class = PrimarySSLConnection if is_tls else PrimaryConnection
    return Redis.from_pool(ConnectionPool(connection_class=connection_class, **options))
