"""The session store that goes on without Redis: from memory, with its commits on disk."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Mapping, Sequence

from services.recommender.adapters.commit_spool import Commit, CommitSpool, SpoolFullError
from services.recommender.adapters.recent_states import RecentStates
from services.recommender.adapters.session_store import (
    RedisSessionStore,
    StoreUnavailableError,
    Transition,
)
from services.recommender.adapters.stored_state import decode_state, make_commit
from services.recommender.core.decisions import Outcome

logger = logging.getLogger(__name__)

FAULT = "sessions:unavailable"
ADOPT_S = 5.0
AT_ONCE = 128


class SpoolingSessionStore:
    """Redis while it answers in time; otherwise what the workers of this machine remember.

    After a failure Redis is left alone for `rest_s`, so that only one request in that time waits
    for its deadline. A listener with commits in a spool, this worker's or another's, is served from
    memory until they are delivered: their order stays. A commit whose fate is unknown is spooled as
    it is: delivered twice, its event is one row, and the state that it made is not made again.
    """

    def __init__(
        self,
        store: RedisSessionStore,
        spool: CommitSpool,
        recent: RecentStates,
        *,
        seconds: Callable[[], float],
        rest_s: float,
        adopt_s: float = ADOPT_S,
        on_change: Callable[[int, int], None] = lambda _, __: None,
    ) -> None:
        """Wrap a store.

        Args:
            store: Asked first; it tells `recent` what it wrote.
            spool: What could not be committed.
            recent: What was last written.
            seconds: A monotonic clock.
            rest_s: How long Redis is left alone after a failure.
            adopt_s: How often to look for what another process left when it died.
            on_change: Told how many commits wait, and their size in bytes.
        """
        self._store = store
        self._spool = spool
        self._seconds = seconds
        self._rest_s = rest_s
        self._adopt_s = adopt_s
        self._rests_until = 0.0
        self._at_once = 1
        self._recent = recent
        self._behind: dict[int, bytes] = {}
        self._take_over(spool.users())
        self._has_work = asyncio.Event()
        self._on_change = on_change
        on_change(len(spool), spool.n_bytes)

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Apply a transition, in Redis or in memory.

        Raises:
            StoreUnavailableError: If Redis does not answer in time and the spool is full.
        """
        is_resting = self._seconds() < self._rests_until
        if is_resting or user in self._behind or self._recent.is_spooled(user):
            return self._update_in_memory(user, transition)
        try:
            return await self._store.update(user, transition)
        except StoreUnavailableError as error:
            self._rests_until = self._seconds() + self._rest_s
            logger.warning("sessions are served from memory: %s", error)
            if error.unknown is None:
                return self._update_in_memory(user, transition)
            outcome, commit = error.unknown
            self._keep(user, commit.before, outcome)
            return outcome

    async def ping(self) -> None:
        """Answer: without Redis there is the spool."""

    async def close(self) -> None:
        """Close the connection and the files."""
        await self._store.close()
        self._recent.close()
        self._spool.close()

    async def deliver(self) -> None:
        """Deliver what is spooled, here or by a process that died since, until cancelled."""
        while True:
            while len(self._spool):
                await self._deliver_some()
            self._has_work.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._adopt_s):
                    await self._has_work.wait()
            if adopted := self._spool.adopt_left():
                self._take_over(adopted)
                self._on_change(len(self._spool), self._spool.n_bytes)

    def _take_over(self, states: Mapping[int, bytes]) -> None:
        """Serve the listeners of spooled commits from memory, unless a worker knows them better."""
        for user, after in states.items():
            found = self._recent.find(user)
            if found is None or found.state == after:
                self._behind[user] = after
                self._recent.put(user, after, is_spooled=True)

    def _update_in_memory(self, user: int, transition: Transition) -> Outcome:
        found = self._recent.find(user)
        before = self._behind.get(user, b"") if found is None else found.state
        outcome = transition(decode_state(user, before), FAULT)
        if outcome.event is not None:
            self._keep(user, before, outcome)
        return outcome

    def _keep(self, user: int, before: bytes, outcome: Outcome) -> None:
        commit = make_commit(user, before, outcome, leaves_tag=True)
        try:
            self._spool.append(commit)
        except SpoolFullError as error:
            raise StoreUnavailableError(f"Redis does not answer; the spool: {error}") from error
        self._behind[user] = commit.after
        self._recent.put(user, commit.after, is_spooled=True)
        self._has_work.set()
        self._on_change(len(self._spool), self._spool.n_bytes)

    async def _deliver_some(self) -> None:
        """Deliver the oldest together: one by one, listeners would spool faster than that.

        Their number doubles with each success and halves with each failure, so that whatever keeps
        up with one gets one, and none overtakes what could not be delivered.
        """
        commits = self._spool.first(self._at_once)
        writes = (self._store.write(commit) for commit in commits)
        results = await asyncio.gather(*writes, return_exceptions=True)
        n_written = next((n for n, each in enumerate(results) if each), len(results))
        self._forget(commits[:n_written])
        faults = [each for each in results if each is not None]
        for fault in faults:
            if not isinstance(fault, StoreUnavailableError):
                raise fault
        if faults:  # what was written after the first is written again: that changes nothing
            self._at_once = max(1, self._at_once // 2)
            self._rests_until = self._seconds() + self._rest_s
            await asyncio.sleep(self._rest_s)
            return
        self._at_once = min(2 * self._at_once, AT_ONCE)
        self._rests_until = 0.0

    def _forget(self, commits: Sequence[Commit]) -> None:
        """Drop what was delivered."""
        self._spool.drop_first(len(commits))
        self._on_change(len(self._spool), self._spool.n_bytes)
        for commit in commits:
            if self._behind.get(commit.user) == commit.after:
                del self._behind[commit.user]
                self._recent.settle(commit.user)
