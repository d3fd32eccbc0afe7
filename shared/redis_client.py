"""How everything off the serving path connects to Redis."""

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff

_RETRIES = 3


def create_redis(url: str, *, timeout_s: float | None = None) -> Redis:
    """Create a client, its answers undecoded, that outlives a restart of Redis.

    By default redis-py reports a pooled connection that died meanwhile to whoever takes it next.
    Here the command is tried again on a new one. It may thus be done twice: commands of ours can.

    Args:
        url: Of Redis.
        timeout_s: Of connecting, and of each answer; without: none.
    """
    return Redis.from_url(
        url,
        socket_timeout=timeout_s,
        socket_connect_timeout=timeout_s,
        retry=Retry(ExponentialWithJitterBackoff(base=0.05, cap=0.5), _RETRIES),
    )
