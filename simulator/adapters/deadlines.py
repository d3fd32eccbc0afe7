"""One time limit for many requests at once, for the price of one timer."""

import asyncio
from types import TracebackType
from typing import Any, NamedTuple


class _Begun(NamedTuple):
    due_s: float
    n_cancelled: int  # requests to cancel the task that were there before ours


class Deadlines:
    """Limits blocks to the same time each: `with deadlines: await ...`, one per task at a time.

    As `asyncio.timeout`, which sets up and takes down a timer for every block: a tenth of a small
    request. Here the block that began first is due first, so one timer for it does for all.
    """

    def __init__(self, limit_s: float) -> None:
        """Limit each block to some seconds."""
        self._limit_s = limit_s
        self._begun: dict[asyncio.Task[Any], _Begun] = {}  # in order of beginning
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> None:
        """Begin a block.

        Raises:
            RuntimeError: Outside a task.
        """
        task = _find_task()
        loop = task.get_loop()
        due_s = loop.time() + self._limit_s
        self._begun[task] = _Begun(due_s, task.cancelling())
        if self._timer is None:
            self._timer = loop.call_at(due_s, self._expire, loop)

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """End a block.

        Raises:
            TimeoutError: If it was interrupted because its time was over.
        """
        task = _find_task()
        begun = self._begun.pop(task)
        if begun.due_s > 0:
            return
        # Whoever else cancelled the task meanwhile goes first.
        if task.uncancel() <= begun.n_cancelled and kind is asyncio.CancelledError:
            raise TimeoutError from error

    def close(self) -> None:
        """Stop the timer."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _expire(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now_s = loop.time()
        for task, begun in self._begun.items():
            if begun.due_s > now_s:
                self._timer = loop.call_at(begun.due_s, self._expire, loop)
                return
            if begun.due_s > 0:
                self._begun[task] = _Begun(0.0, begun.n_cancelled)
                task.cancel()


def _find_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    if task is None:
        raise RuntimeError("a deadline needs a task that it can interrupt")
    return task
