"""Work beside a service's requests, from its start to its end."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any

_CANCEL_AGAIN_S = 2.0  # enough for what it does at its end


@contextlib.asynccontextmanager
async def in_background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run work beside the block, and end it with the block.

    It is cancelled as often as it takes: before Python 3.12 `asyncio.wait_for`, through which
    redis-py sends, swallows a cancellation that comes as the write ends.
    """
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        while not task.done():
            task.cancel()
            await asyncio.wait([task], timeout=_CANCEL_AGAIN_S)
