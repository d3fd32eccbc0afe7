"""What a page draws of results: drawn once for all who look, and not waited for too long."""

import asyncio
from collections.abc import Callable
from typing import Any

from services.dashboard.core.results import Results
from shared.tasks import end

Values = dict[str, Any]
Draw = Callable[[Results], Values]


class Drawings:
    """Keeps what was last drawn of each experiment, and draws anew when its results are others."""

    def __init__(self, draw: Draw) -> None:
        """Draw nothing yet."""
        self._draw = draw
        self._kept: dict[str, tuple[Results, Values]] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def get(self, name: str, results: Results, *, patience_s: float) -> Values | None:
        """Return what is drawn of results; after the patience, of those before, if of any."""
        kept = self._kept.get(name)
        if kept is None or kept[0] is not results:
            if name not in self._tasks:
                self._tasks[name] = asyncio.create_task(self._renew(name, results))
            task = self._tasks[name]
            done, _ = await asyncio.wait([task], timeout=patience_s)
            if done:
                task.result()  # raises what is a bug
            kept = self._kept.get(name)
        return None if kept is None else kept[1]

    async def close(self) -> None:
        """Give up what is being drawn."""
        await asyncio.gather(*map(end, self._tasks.values()))

    async def _renew(self, name: str, results: Results) -> None:
        try:
            self._kept[name] = results, await asyncio.to_thread(self._draw, results)
        finally:
            del self._tasks[name]
