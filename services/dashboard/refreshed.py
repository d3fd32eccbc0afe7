"""Values that take long to compute: kept, computed once for all who ask, and anew when old."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from shared.tasks import end

T = TypeVar("T")

_REST = 4  # a value that took s seconds is kept at least this many times s


@dataclass(frozen=True)
class Known(Generic[T]):
    """A value, or that there is none yet.

    Attributes:
        value: None while the first is being computed.
        age_s: Since it was computed.
        error: Why the latest attempt to renew the value failed; None if it did not.
    """

    value: T | None
    age_s: float = 0.0
    error: Exception | None = None


class Refreshed(Generic[T]):
    """One value that is computed again, once for all who wait, when it is asked for and old."""

    def __init__(
        self,
        compute: Callable[[], Awaitable[T]],
        *,
        fresh_s: float,
        seconds: Callable[[], float],
        failures: tuple[type[Exception], ...],
    ) -> None:
        """Compute nothing yet.

        Args:
            compute: Makes the value.
            fresh_s: Age up to which it is not computed again; more if computing takes long.
            seconds: Monotonic clock.
            failures: Errors of `compute` after which the old value is still shown.
        """
        self._compute = compute
        self._fresh_s = fresh_s
        self._seconds = seconds
        self._failures = failures
        self._value: T | None = None
        self._error: Exception | None = None
        self._computed_at = 0.0
        self._due_at = float("-inf")
        self._task: asyncio.Task[None] | None = None

    async def get(self, *, patience_s: float | None = None) -> Known[T]:
        """Return the value, as new as can be had within the patience; without: fresh.

        Raises:
            Exception: Of `failures`, if there is no value at all.
        """
        if self._seconds() >= self._due_at and self._task is None:
            self._task = asyncio.create_task(self._renew())
        task = self._task
        if task is not None:
            done, _ = await asyncio.wait([task], timeout=patience_s)
            if done:
                task.result()  # raises what is no failure but a bug
        if self._value is None and self._error is not None:
            raise self._error
        return Known(self._value, self._seconds() - self._computed_at, self._error)

    async def close(self) -> None:
        """Give up what is being computed."""
        if self._task is not None:
            await end(self._task)

    async def _renew(self) -> None:
        started = self._seconds()
        try:
            value = await self._compute()
        except self._failures as error:
            self._error = error
        else:
            self._value, self._error = value, None
            self._computed_at = self._seconds()
        finally:
            took_s = self._seconds() - started
            self._due_at = self._seconds() + max(self._fresh_s, _REST * took_s)
            self._task = None
