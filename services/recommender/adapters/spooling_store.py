"""The session store that goes on without Redis: from memory, with its commits on disk."""

import asyncio
import logging
from collections.abc import Callable

from services.recommender.adapters.commit_spool import Commit, CommitSpool, SpoolFullError
from services.recommender.adapters.session_store import (
    RedisSessionStore,
    StoreUnavailableError,
    Transition,
    decode_state,
    make_commit,
)
from services.recommender.core.decisions import Outcome

logger = logging.getLogger(__name__)

FAULT = "sessions:unavailable"


class SpoolingSessionStore:
    """Redis while it answers in time; otherwise what this process remembers of a session.

    After a failure Redis is left alone for `rest_s`, so that only one request in that time waits
    for its deadline. A listener with commits in the spool is served from memory until they are
    delivered: their order stays. A commit whose fate is unknown is spooled as it is: delivered
    twice, its event is one row, and the state that it made is not made again.
    """

    def __init__(
        self,
        store: RedisSessionStore,
        spool: CommitSpool,
        *,
        seconds: Callable[[], float],
        rest_s: float,
        on_change: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:
        """Wrap a store.

        Args:
            store: Asked first.
            spool: What could not be committed.
            seconds: A monotonic clock.
            rest_s: How long Redis is left alone after a failure.
            on_change: Told how many commits wait, and their size in bytes.
        """
        self._store = store
        self._spool = spool
        self._seconds = seconds
        self._rest_s = rest_s
        self._rests_until = 0.0
        self._recent = store.recent
        self._behind = spool.users()
        self._has_work = asyncio.Event()
        self._on_change = on_change
        on_change(len(spool), spool.n_bytes)

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Apply a transition, in Redis or in memory.

        Raises:
            StoreUnavailableError: If Redis does not answer in time and the spool is full.
        """
        if user in self._behind:
            return self._update_in_memory(user, self._behind[user], transition)
        if self._seconds() < self._rests_until:
            return self._update_in_memory(user, self._recent.get(user), transition)
        try:
            return await self._store.update(user, transition)
        except StoreUnavailableError as error:
            self._rests_until = self._seconds() + self._rest_s
            logger.warning("sessions are served from memory: %s", error)
            if error.unknown is None:
                return self._update_in_memory(user, self._recent.get(user), transition)
            outcome, commit = error.unknown
            self._keep(commit)
            return outcome

    async def ping(self) -> None:
        """Answer: without Redis there is the spool."""

    async def close(self) -> None:
        """Close the connection and the spool."""
        await self._store.close()
        self._spool.close()

    async def deliver(self) -> None:
        """Deliver what is spooled until cancelled."""
        while True:
            while len(self._spool):
                await self._deliver_first()
            self._has_work.clear()
            await self._has_work.wait()

    def _update_in_memory(self, user: int, before: bytes, transition: Transition) -> Outcome:
        outcome = transition(decode_state(user, before), FAULT)
        if outcome.event is not None:
            self._keep(make_commit(user, before, outcome))
        return outcome

    def _keep(self, commit: Commit) -> None:
        try:
            self._spool.append(commit)
        except SpoolFullError as error:
            raise StoreUnavailableError(f"Redis does not answer; the spool: {error}") from error
        self._behind[commit.user] = commit.after
        self._has_work.set()
        self._on_change(len(self._spool), self._spool.n_bytes)

    async def _deliver_first(self) -> None:
        commit = self._spool.first()
        try:
            await self._store.write(commit)
        except StoreUnavailableError:
            self._rests_until = self._seconds() + self._rest_s
            await asyncio.sleep(self._rest_s)
            return
        self._rests_until = 0.0
        self._spool.drop_first()
        self._on_change(len(self._spool), self._spool.n_bytes)
        if self._behind.get(commit.user) == commit.after:
            del self._behind[commit.user]
            self._recent.put(commit.user, commit.after)
