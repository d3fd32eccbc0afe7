"""The session store: reads a listener's state, and writes it together with the event."""

import asyncio
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import UserState
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import encode_event

logger = logging.getLogger(__name__)

Transition = Callable[[UserState | None], Outcome]

# One action: the state is as the decision saw it, or nothing happens.
_COMMIT = """
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then
    return 0
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5])
return 1
"""

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decoder = msgspec.msgpack.Decoder(UserState)


class StoreUnavailableError(Exception):
    """The store did not answer in time; whether it wrote is unknown."""


class SessionStore(Protocol):
    """Where sessions live between requests, and the way events leave."""

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Apply a transition to a listener's state and append its event, both or neither.

        The transition is applied again if another request came between.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """

    async def ping(self) -> None:
        """Check that the store answers.

        Raises:
            StoreUnavailableError: If it does not.
        """

    async def close(self) -> None:
        """Let go of connections."""


class RedisSessionStore:
    """One key per listener, beside the event stream."""

    def __init__(self, redis: Redis, *, timeout_s: int, deadline_s: float) -> None:
        """Wrap a connection.

        Args:
            redis: Without `decode_responses`, and without retries of its own: a commit whose
                answer was lost must not be sent again.
            timeout_s: A state is forgotten after that long without a request.
            deadline_s: What an update may take.
        """
        self._redis = redis
        self._commit = redis.register_script(_COMMIT)
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Read, decide, compare and write; again if another request came between."""
        key = f"segue:session:{user}"
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    before: bytes = await self._redis.get(key) or b""
                    outcome = transition(_decode(user, before))
                    if outcome.event is None or await self._write(key, before, outcome):
                        return outcome
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise StoreUnavailableError(str(error) or type(error).__name__) from error

    async def ping(self) -> None:
        """Check that Redis answers."""
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._redis.ping()
        except (RedisError, OSError) as error:
            raise StoreUnavailableError(str(error) or type(error).__name__) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._redis.aclose()

    async def _write(self, key: str, before: bytes, outcome: Outcome) -> bool:
        assert outcome.event is not None  # noqa: S101 - narrows for the type checker
        after = b"" if outcome.state is None else _encode(outcome.state)
        event = encode_event(outcome.event)
        is_written = await self._commit(
            keys=(key, STREAM_KEY), args=(before, after, self._timeout_s, FIELD, event)
        )
        return bool(is_written)


def connect(url: str, *, max_connections: int, deadline_s: float) -> Redis:
    """Make the connections that requests share; none is opened yet."""
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=max_connections,
        timeout=deadline_s,
        socket_connect_timeout=deadline_s,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)


def _decode(user: int, payload: bytes) -> UserState | None:
    if not payload:
        return None
    try:
        return _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        # Nobody is locked out by what an older release, or a stranger, left under the key.
        logger.warning("session of user %d cannot be read and starts anew: %s", user, error)
        return None
