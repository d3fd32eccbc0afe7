"""Work in forked processes, which share what the parent holds and give their memory back."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, ClassVar, TypeVar

from deploy.errors import DeployError

T = TypeVar("T")


class WorkerDiedError(DeployError):
    """A forked process that died."""


class _Work:
    """What this process was forked for."""

    function: ClassVar[Callable[..., Any] | None] = None


def run_forked(function: Callable[..., T], *parts: Any) -> T:
    """Call a function with arguments in a process of its own.

    A library that starts threads, as torch does, leaves none in this process, which would make
    its next fork unsafe.
    """
    (result,) = map_forked(lambda _: function(*parts), [None], n_workers=1)
    return result


def map_forked(
    function: Callable[[Any], T], items: Sequence[Any], *, n_workers: int
) -> Iterator[T]:
    """Call a function with each item, in processes, and yield the results in order.

    Args:
        function: Of one argument; it and what it refers to are shared, not copied.
        items: Sent to the processes.
        n_workers: Processes.

    Raises:
        WorkerDiedError: If one dies.
    """
    context = multiprocessing.get_context("fork")
    try:
        with ProcessPoolExecutor(n_workers, context, _begin, (function,)) as pool:
            yield from pool.map(_call, items)
    except BrokenProcessPool as error:
        raise WorkerDiedError("a process was killed; is there enough memory?") from error


def _begin(function: Callable[..., Any]) -> None:
    _Work.function = function


def _call(item: Any) -> Any:
    assert _Work.function is not None  # noqa: S101 - narrows for the type checker
    return _Work.function(item)
