"""What is spooled is delivered many at once, and not dropped before all of it is."""

import asyncio
from pathlib import Path

from services.recommender.adapters.commit_spool import Commit, CommitSpool
from services.recommender.adapters.recent_states import RecentStates
from services.recommender.adapters.redis_connection import RedisConnection
from services.recommender.adapters.session_store import RedisSessionStore, StoreUnavailableError
from services.recommender.adapters.spooling_store import AT_ONCE, SpoolingSessionStore
from shared.tasks import in_background

N_COMMITS = 4 * AT_ONCE


class StandIn(RedisSessionStore):
    """Takes writes together, and fails the first time."""

    def __init__(self) -> None:
        super().__init__(RedisConnection("redis://127.0.0.1:1/0"), timeout_s=60, deadline_s=1)
        self.taken: list[Commit] = []
        self.most_at_once = 0
        self._n_waiting = 0

    async def write(self, commit: Commit) -> None:
        self._n_waiting += 1
        self.most_at_once = max(self.most_at_once, self._n_waiting)
        await asyncio.sleep(0)
        self._n_waiting -= 1
        self.taken.append(commit)
        if len(self.taken) == 3:
            raise StoreUnavailableError("away")


async def test_what_waits_is_delivered_together_and_whole(tmp_path: Path) -> None:
    spool = CommitSpool(tmp_path, max_bytes=1_000_000)
    for user in range(N_COMMITS):
        spool.append(Commit(user, b"", b"%016d" % user, b"event"))
    store, waiting = StandIn(), []

    def note(n_commits: int, _: int) -> None:
        waiting.append(n_commits)

    recent = RecentStates(tmp_path / "0.recent", max_age_s=60, n_slots=1024, ring_bytes=1_000_000)
    spooling = SpoolingSessionStore(
        store, spool, recent, seconds=lambda: 0.0, rest_s=0.001, on_change=note
    )
    assert recent.is_spooled(7)
    async with in_background(spooling.deliver()), asyncio.timeout(10):
        while waiting[-1]:  # noqa: ASYNC110
            await asyncio.sleep(0.001)
    assert store.most_at_once == AT_ONCE
    assert {commit.user for commit in store.taken} == set(range(N_COMMITS))
    assert not recent.is_spooled(7)
    # One, then two of which the second fails, then that one alone.
    assert [commit.user for commit in store.taken[:6]] == [0, 1, 2, 2, 3, 4]
    assert waiting[:4] == [N_COMMITS, N_COMMITS - 1, N_COMMITS - 2, N_COMMITS - 3]
    assert waiting[-1] == 0
    await spooling.close()
