"""Who does the parts of a training that do not depend on each other.

Parts are cut in the same way whoever does them, and their results are put together in order, so
that a training's bits do not depend on it.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol, TypeVar

from services.trainer.core.threads import run_side_by_side

Common = TypeVar("Common")
Part = TypeVar("Part")
Result = TypeVar("Result")


class Workers(Protocol):
    """Does parts of a work somewhere."""

    def map(
        self,
        work: Callable[[Common, Part], Result],
        common: Common,
        parts: Iterable[Part],
        *,
        in_threads: bool = False,
    ) -> Iterator[Result]:
        """Do a work on every part, and yield the results in order.

        Args:
            work: A function of a module: what it needs is in its arguments.
            common: What all parts need; it travels once.
            parts: Not of each other's results.
            in_threads: Whether one process had better do several at once.
        """


class Here:
    """This process does them."""

    def map(
        self,
        work: Callable[[Common, Part], Result],
        common: Common,
        parts: Iterable[Part],
        *,
        in_threads: bool = False,
    ) -> Iterator[Result]:
        """Do one after another, or as many at once as torch has threads."""
        if in_threads:
            yield from run_side_by_side(lambda part: work(common, part), parts)
            return
        for part in parts:
            yield work(common, part)


HERE = Here()
