"""The session store: reads a listener's state, and writes it together with the event."""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Protocol

from redis.exceptions import RedisError, ResponseError

from services.recommender.adapters.commit_spool import Commit
from services.recommender.adapters.guesses import Guesses, OwnStates, States
from services.recommender.adapters.redis_connection import RedisCommands, Word
from services.recommender.adapters.stored_state import (
    COMMIT,
    COMMIT_SHA,
    decode_state,
    make_commit,
    make_shards,
)
from services.recommender.core.decisions import Outcome
from services.recommender.core.sessions import UserState
from shared.event_stream import FIELD, TRACE_FIELD
from shared.tracing import Tracing

Transition = Callable[[UserState | None, str | None], Outcome]
"""From a listener's state, and why the store cannot be asked if so, to what follows."""

_OWN_BYTES = 16 * 1024 * 1024


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
        redis: RedisCommands,
        *,
        timeout_s: int,
        deadline_s: float,
        n_shards: int = 0,
        seconds: Callable[[], float] = time.monotonic,
        tracing: Tracing | None = None,
        states: States | None = None,
    ) -> None:
        """Wrap a connection.

        Args:
            redis: Opened by the first update.
            timeout_s: A state is forgotten after that long without a request.
            deadline_s: What an update may take.
            n_shards: Of a cluster; 0 is one server.
            seconds: A monotonic clock.
            tracing: Makes a span of every commit.
            states: What was last written, by others too; what this process wrote if not given.
        """
        self._tracing = tracing
        self._shards = make_shards(n_shards)
        self._redis = redis
        self._timeout_s = timeout_s
        self._deadline_s = deadline_s
        own = OwnStates(seconds, max_bytes=_OWN_BYTES, max_age_s=timeout_s)
        self._guesses = Guesses(own if states is None else states)

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Decide, compare and write; again if the state was another.

        What was written last is taken for the present state. If it is not, the comparison says so,
        and answers with the state that is.

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
                        self._guesses.learn(user, before)
                        self._guesses.put(user, commit.after)
                        return outcome
                    unknown = None
                    before = present
                    outcome = transition(decode_state(user, before), None)
                return outcome
        except (RedisError, OSError) as error:  # TimeoutError is an OSError
            raise self._unavailable(error, unknown) from error

    async def _decide_first(self, user: int, transition: Transition) -> tuple[bytes, Outcome]:
        """Decide on the state that is likely, or else on the one that Redis has."""
        guess = self._guesses.guess(user)
        if guess:
            with contextlib.suppress(Exception):  # nothing is refused on a guess
                return guess, transition(decode_state(user, guess), None)
        before = await self._fetch(user)
        return before, transition(decode_state(user, before), None)

    async def _fetch(self, user: int) -> bytes:
        """Return the stored state; empty if there is none, or a stranger's key of another type."""
        try:
            return await self._redis.execute("GET", self._keys(user)[0]) or b""
        except ResponseError as error:
            if not str(error).startswith("WRONGTYPE"):
                raise
            return b""

    async def deliver(self) -> None:
        """Have nothing to deliver: what cannot be written is refused."""

    async def write(self, commit: Commit) -> None:
        """Write a commit late: its event, and its state unless there is a newer one.

        Args:
            commit: With a state that is tagged even where it ends a session, so that what is older
                and comes later finds it.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        try:
            async with asyncio.timeout(self._deadline_s):
                await self._commit(commit, is_late=True)
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
        keys = (2, *self._keys(commit.user))
        late = b"late" if is_late else b""
        words = (*keys, commit.before, commit.after, self._timeout_s, FIELD, commit.event, late)
        if self._tracing is None:
            return await self._evaluate(*words, *_trace_fields(commit))
        with self._tracing.span("redis.commit", kind="producer"):
            return await self._evaluate(*words, *_trace_fields(commit))

    async def _evaluate(self, *words: Word) -> bytes | None:
        try:
            return _read_conflict(await self._redis.execute("EVALSHA", COMMIT_SHA, *words))
        except ResponseError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
        # A Redis that does not know the script has not run it: send it whole, once.
        return _read_conflict(await self._redis.execute("EVAL", COMMIT, *words))

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


def _trace_fields(commit: Commit) -> tuple[Word, ...]:
    return (TRACE_FIELD, commit.trace) if commit.trace else ()


def _read_conflict(reply: bytes | int) -> bytes | None:
    return reply if isinstance(reply, bytes) else None
