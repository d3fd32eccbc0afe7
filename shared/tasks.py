"""Work beside a service's requests, from its start to its end."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

log = logging.getLogger(__name__)

_CANCEL_AGAIN_S = 2.0  # enough for what it does at its end


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[asyncio.Task[None]]:
    """Run work beside the block, and end it with the block."""
    task = asyncio.create_task(work)
    try:
        yield task
    finally:
        await end(task)


async def end(task: asyncio.Task[Any]) -> None:
    """Cancel a task as often as it takes, and wait for it; what it raised stays with it.

    Before Python 3.12 `asyncio.wait_for`, through which redis-py sends, swallows a cancellation
    that comes as the write ends.
    """
    while not task.done():
        task.cancel()
        await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)


class BackgroundTasks:
    """The work beside a process's requests, by name: what failed comes back by a restart alone."""

    def __init__(self) -> None:
        """Start with none."""
        self._tasks: dict[str, asyncio.Task[None]] = {}

    @contextlib.asynccontextmanager
    async def running(self, name: str, work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
        """Run work beside the block, and end it with the block."""
        async with in_background(work) as task:
            with self.watching(name, task):
                yield

    @contextlib.contextmanager
    def watching(self, name: str, task: asyncio.Task[None]) -> Iterator[None]:
        """Look after a task that somebody else ends, during the block."""

        def tell(ended: asyncio.Task[None]) -> None:
            if not ended.cancelled() and (error := ended.exception()) is not None:
                log.error("%s has ended, until a restart", name, exc_info=error)

        task.add_done_callback(tell)
        self._tasks[name] = task
        try:
            yield
        finally:
            del self._tasks[name]

    def state(self) -> dict[str, str]:
        """Say `ok` of each that runs or has done its work, else how it ended."""
        return {name: _describe(task) for name, task in self._tasks.items()}


def _describe(task: asyncio.Task[None]) -> str:
    if task.done() and task.cancelled():
        return "ended: cancelled"
    if task.done() and (error := task.exception()) is not None:
        return f"ended: {error!r}"
    return "ok"
