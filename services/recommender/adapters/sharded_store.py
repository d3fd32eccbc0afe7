"""A session store per shard of a Redis Cluster: a node that is away is no matter to the others."""

import asyncio
from collections.abc import Sequence

from services.recommender.adapters.session_store import SessionStore, Transition
from services.recommender.core.decisions import Outcome


class ShardedSessionStore:
    """Several stores, each for its listeners."""

    def __init__(self, stores: Sequence[SessionStore]) -> None:
        """Take a store per shard, in the order of the shards."""
        self._stores = stores

    async def update(self, user: int, transition: Transition) -> Outcome:
        """Apply a transition in the listener's store.

        Raises:
            StoreUnavailableError: If that does not succeed in time.
        """
        return await self._stores[user % len(self._stores)].update(user, transition)

    async def deliver(self) -> None:
        """Deliver what waits in any of them, until cancelled."""
        await asyncio.gather(*(store.deliver() for store in self._stores))

    async def ping(self) -> None:
        """Check that all answer.

        Raises:
            StoreUnavailableError: If one does not.
        """
        await asyncio.gather(*(store.ping() for store in self._stores))

    async def close(self) -> None:
        """Let go of connections."""
        for store in self._stores:
            await store.close()
