"""Work handed out ahead of its results, which come back in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

Part = TypeVar("Part")
Pending = TypeVar("Pending")
Result = TypeVar("Result")


def work_ahead(
    parts: Iterable[Part],
    *,
    n_ahead: int,
    submit: Callable[[int, Part], Pending],
    collect: Callable[[Pending], Result],
) -> Iterator[Result]:
    """Hand parts out and yield their results in order.

    Args:
        parts: Of the work.
        n_ahead: Under way at once, at most.
        submit: Hands out a part, given its number.
        collect: Waits for its result.
    """
    under_way: deque[Pending] = deque()
    for i, part in enumerate(parts):
        if len(under_way) == n_ahead:
            yield collect(under_way.popleft())
        under_way.append(submit(i, part))
    while under_way:
        yield collect(under_way.popleft())
