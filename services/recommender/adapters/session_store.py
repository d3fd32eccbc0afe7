"""The session store: reads a listener's state, and writes it together with the event."""

import asyncio
import contextlib
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Protocol

import msgspec
from redis.exceptions import RedisError, ResponseError

from services.recommender.adapters.commit_spool import Commit
from services.recommender.adapters.recent_states import RecentStates
from services.recommender.adapters.redis_connection import RedisConnection, Word
from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import UserState
from shared.event_stream import FIELD, STREAM_KEY, TRACE_FIELD
from shared.events import Event, encode_event
from shared.tracing import Tracing, current_traceparent

logger = logging.getLogger(__name__)

Transition = Callable[[UserState | None, str | None], Outcome]
"""From a listener's state, and why the store cannot be asked if so, to what follows."""

# A stored state begins with the id of the event that was written with it. One action: the state is
# the one that the decision saw, or nothing happens and the present state is the answer. What comes
# late is also written where nothing is: a Redis that came back empty knows less than the commit.
_TAG = 16
_RECENT_BYTES = 16 * 1024 * 1024
_COMMIT = """
local tag = redis.call('GETRANGE', KEYS[1], 0, 15)
if tag ~= ARGV[1] and (tag ~= '' or ARGV[6] == '') then
    return redis.call('GET', KEYS[1]) or ''
end
if ARGV[2] == '' then
    redis.call('DEL', KEYS[1])
else
    redis.call('SET', KEYS[1], ARGV[2], 'EX', ARGV[3])
end
redis.call('XADD', KEYS[2], '*', ARGV[4], ARGV[5], unpack(ARGV, 7))
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
        self,
        redis: RedisConnection,
        *,
        timeout_s: int,
        deadline_s: float,
        seconds: Callable[[], float] = time.monotonic,
        tracing: Tracing | None = None,
    ) -> None:
        """Wrap a connection.

        Args:
            redis: Opened by the first update.
            timeout_s: A state is forgotten after that long without a request.
            deadline_s: What an update may take.
            seconds: A monotonic clock.
            tracing: Makes a span of every commit.
        """
        self._tracing = tracing
        self._redis = redis
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        self.recent = RecentStates(seconds, max_bytes=_RECENT_BYTES, max_age_s=timeout_s)

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Decide, compare and write; again if the state was another.

        What this process wrote last is taken for the present state. If it is not, the comparison
        says so, and answers with the state that is.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        unknown: tuple[Outcome, Commit] | None = None
        try:
            async with asyncio.timeout(self._deadline_s):
                before, outcome = await self._decide_first(user, transition)
                while outcome.event is not None:
                    commit = make_commit(user, before, outcome)
                    unknown = outcome, commit
                    present = await self._commit(commit)
                    if present is None:
                        self.recent.learn(user, before)
                        self.recent.put(user, commit.after)
                        return outcome
                    unknown = None
                    before = present
                    outcome = transition(decode_state(user, before), None)
                return outcome
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise self._unavailable(error, unknown) from error

    async def _decide_first(self, user: int, transition: Transition) -> tuple[bytes, Outcome]:
        """Decide on the state that is likely, or else on the one that Redis has."""
        guess = self.recent.guess(user)
        if guess:
            with contextlib.suppress(Exception):  # nothing is refused on a guess
                return guess, transition(decode_state(user, guess), None)
        before: bytes = await self._redis.execute("GET", _key(user)) or b""
        return before, transition(decode_state(user, before), None)

    async def deliver(self) -> None:
        """Have nothing to deliver: what cannot be written is refused."""

    async def write(self, commit: Commit) -> None:
        """Write a commit late: its state onto the one that it was made from, or none.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                if await self._commit(commit, is_late=True) is not None:
                    fields = (FIELD, commit.event, *_trace_fields(commit))
                    await self._redis.execute("XADD", STREAM_KEY, "*", *fields)
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

    async def _commit(self, commit: Commit, *, is_late: bool = False) -> bytes | None:
        """Write a commit; return the state that is stored if it is not what it was made from."""
        keys = (2, _key(commit.user), STREAM_KEY)
        late = b"late" if is_late else b""
        words = (*keys, commit.before, commit.after, self._timeout_s, FIELD, commit.event, late)
        if self._tracing is None:
            return await self._evaluate(*words)
        with self._tracing.span("redis.commit", kind="producer"):
            return await self._evaluate(*words, *_trace_fields(commit))

    async def _evaluate(self, *words: Word) -> bytes | None:
        try:
            return _read_conflict(await self._redis.execute("EVALSHA", _COMMIT_SHA, *words))
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # A Redis that does not know the script has not run it: send it whole, once.
        return _read_conflict(await self._redis.execute("EVAL", _COMMIT, *words))

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
    trace = current_traceparent() or ""
    return Commit(user, before[:_TAG], after, encode_event(outcome.event), trace)


def _trace_fields(commit: Commit) -> tuple[Word, ...]:
    return (TRACE_FIELD, commit.trace) if commit.trace else ()


def _read_conflict(reply: bytes | int) -> bytes | None:
    return reply if isinstance(reply, bytes) else None


def _key(user: int) -> str:
    return f"segue:session:{user}"


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
