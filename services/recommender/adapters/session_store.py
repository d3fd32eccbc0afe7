"""The session store: reads a listener's state, and writes it together with the event."""

import asyncio
import hashlib
import logging
from collections.abc import Callable
from typing import Protocol

import msgspec
from redis.exceptions import RedisError, ResponseError

from services.recommender.adapters.commit_spool import Commit
from services.recommender.adapters.redis_connection import RedisCommands
from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import UserState
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import Event, encode_event
from shared.redis_place import make_tags
from shared.sharded_stream import shard_key

logger = logging.getLogger(__name__)

Transition = Callable[[UserState | None, str | None], Outcome]
"""From a listener's state, and why the store cannot be asked if so, to what follows."""

# A stored state begins with the id of the event that was written with it. One action: the state is
# the one that the decision saw, or nothing happens. What comes late is also written where nothing
# is: a Redis that came back empty knows less than the commit.
_TAG = 16
_COMMIT = """
local tag = redis.call('GETRANGE', KEYS[1], 0, 15)
if tag ~= ARGV[1] and (tag ~= '' or ARGV[6] == '') then
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

_COMMIT_SHA = hashlib.sha1(_COMMIT.encode()).hexdigest()  # noqa: S324 - Redis names scripts so

_encode = msgspec.msgpack.Encoder(uuid_format="bytes").encode
_decoder = msgspec.msgpack.Decoder(UserState)


class StoreUnavailableError(Exception):
    """The store did not answer in time.

    Attributes:
        unknown: The outcome and its commit, of which nobody knows whether it was written.
    """

    def __init__(self, message: str, unknown: tuple[Outcome, Commit] | None = None) -> None:
        """Say what went wrong."""
        super().__init__(message)
        self.unknown = unknown


class SessionStore(Protocol):
    """Where sessions live between requests, and the way events leave."""

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Apply a transition to a listener's state and append its event, both or neither.

        The transition is applied again if another request came between.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """

    async def deliver(self) -> None:
        """Deliver what could not be written at once, until cancelled."""

    async def ping(self) -> None:
        """Check that the store answers.

        Raises:
            StoreUnavailableError: If it does not.
        """

    async def close(self) -> None:
        """Let go of connections."""


class RedisSessionStore:
    """One key per listener, beside the event stream."""

    def __init__(
        self, redis: RedisCommands, *, timeout_s: int, deadline_s: float, n_shards: int = 0
    ) -> None:
        """Wrap a connection.

        Args:
            redis: Opened by the first update.
            timeout_s: A state is forgotten after that long without a request.
            deadline_s: What an update may take.
            n_shards: Of a cluster; 0 is one server.
        """
        self._shards = make_shards(n_shards)
        self._redis = redis
        self.timeout_s = timeout_s
        self._deadline_s = deadline_s

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Read, decide, compare and write; again if another request came between."""
        outcome, _ = await self.attempt(user, transition)
        return outcome

    async def attempt(self, user: int, transition: Transition) -> tuple[Outcome, bytes]:
        """Do what `update` does; return the state as it is stored, too.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        unknown: tuple[Outcome, Commit] | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                while True:
                    before: bytes = await self._redis.execute("GET", self._keys(user)[0]) or b""
                    outcome = transition(decode_state(user, before), None)
                    if outcome.event is None:
                        return outcome, before
                    commit = make_commit(user, before, outcome)
                    unknown = outcome, commit
                    if await self._commit(commit):
                        return outcome, commit.after
                    unknown = None
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise self._unavailable(error, unknown) from error

    async def deliver(self) -> None:
        """Have nothing to deliver: what cannot be written is refused."""

    async def write(self, commit: Commit) -> None:
        """Write a commit late: its state onto the one that it was made from, or none.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                if not await self._commit(commit, is_late=True):
                    stream = self._keys(commit.user)[1]
                    await self._redis.execute("XADD", stream, "*", FIELD, commit.event)
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    async def ping(self) -> None:
        """Check that Redis answers."""
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._redis.execute("PING")
        except (RedisError, OSError) as error:
            raise self._unavailable(error) from error

    async def close(self) -> None:
        """Close the connection."""
        self._redis.close()

    async def _commit(self, commit: Commit, *, is_late: bool = False) -> bool:
        keys = (2, *self._keys(commit.user))
        late = b"late" if is_late else b""
        words = (*keys, commit.before, commit.after, self.timeout_s, FIELD, commit.event, late)
        try:
            return bool(await self._redis.execute("EVALSHA", _COMMIT_SHA, *words))
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # A Redis that does not know the script has not run it: send it whole, once.
        return bool(await self._redis.execute("EVAL", _COMMIT, *words))

    def _keys(self, user: int) -> tuple[str, str]:
        """Return the keys of a listener's state and of the stream beside it."""
        prefix, stream = self._shards[user % len(self._shards)]
        return f"{prefix}{user}", stream

    def _unavailable(
        self, error: Exception, unknown: tuple[Outcome, Commit] | None = None
    ) -> StoreUnavailableError:
        if isinstance(error, TimeoutError):
            return StoreUnavailableError(f"Redis did not answer in {self._deadline_s:g} s", unknown)
        return StoreUnavailableError(f"Redis: {error}", unknown)


def make_commit(user: int, before: bytes, outcome: Outcome) -> Commit:
    """Make the commit of an outcome that has an event.

    Args:
        user: Whose state it is.
        before: The stored state that was decided on; empty if there was none.
        outcome: What follows.
    """
    assert outcome.event is not None  # noqa: S101 - narrows for the type checker
    after = b"" if outcome.state is None else encode_state(outcome.state, outcome.event)
    return Commit(user, before[:_TAG], after, encode_event(outcome.event))


def make_shards(n_shards: int) -> list[tuple[str, str]]:
    """Return, per shard, what a state's key begins with, and the key of the stream; 0: for all."""
    if not n_shards:
        return [("segue:session:", STREAM_KEY)]
    return [(f"segue:{{{tag}}}:session:", shard_key(tag)) for tag in make_tags(n_shards)]


def encode_state(state: UserState, event: Event) -> bytes:
    """Write a state as it is stored, tagged with the event that made it."""
    return event.event_id.bytes + _encode(state)


def decode_state(user: int, payload: bytes) -> UserState | None:
    """Read a stored state; None if there is none, or nothing that can be read."""
    if not payload:
        return None
    try:
        return _decoder.decode(payload[_TAG:])
    except msgspec.MsgspecError as error:
        # Nobody is locked out by what an older release, or a stranger, left under the key.
        logger.warning("session of user %d cannot be read and starts anew: %s", user, error)
        return None
