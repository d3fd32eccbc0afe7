"""The model holder beside a real Valkey: what a stop may interrupt."""

import asyncio
import gc
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import pytest
from redis.asyncio import Redis

from deploy.local.servers import ValkeyServer
from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelHolder
from services.recommender.core.catalog_index import make_catalog_index
from services.recommender.core.decisions import Clock
from tests.unit.recommender.factories import make_tracks


class BusyThreads(ThreadPoolExecutor):
    """One thread, which is not free until it is told so."""

    def __init__(self) -> None:
        super().__init__(1)
        self.was_asked = asyncio.Event()
        self.is_free = threading.Event()
        super().submit(self.is_free.wait)

    def submit(self, *arguments: Any, **options: Any) -> Future[Any]:
        self.was_asked.set()
        return super().submit(*arguments, **options)


async def test_a_stop_before_a_thread_is_free_leaves_nothing_behind(
    redis: Redis, valkey: ValkeyServer
) -> None:
    catalog = make_tracks()
    holder = ModelHolder(
        valkey.url,
        catalog,
        make_catalog_index(catalog),
        pinned=frozenset(),
        poll_s=1,
        metrics=Metrics((), Clock()),
        clock=Clock(),
    )
    with BusyThreads() as threads:
        asyncio.get_running_loop().set_default_executor(threads)
        looking = asyncio.create_task(holder.refresh())  # its catalogue is to be published
        await threads.was_asked.wait()
        looking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await looking
        threads.is_free.set()
    gc.collect()  # a coroutine that was never awaited is a warning, and that an error
    await holder.close()
    assert await redis.keys() == []
