"""The parts of a training on a Ray cluster: actors with one CPU each."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import Engine
from services.trainer.core.workers import HERE, Workers
from shared.ahead import work_ahead
from shared.extras import MissingExtraError
from shared.ray_cluster import RayClusterError, connect_ray

_AHEAD = 2  # parts per worker that are handed out before the first must be back

Common = TypeVar("Common")
Part = TypeVar("Part")
Result = TypeVar("Result")


class _Worker:
    """What runs on the cluster; keeps what the parts of one work have in common."""

    def __init__(self) -> None:
        self._reference: Any = None
        self._common: Any = None

    def do(self, work: Callable[[Any, Any], Any], references: list[Any], part: Any) -> Any:
        import ray

        (reference,) = references  # in a list: Ray fetches what is an argument by itself, each time
        if reference != self._reference:
            self._reference, self._common = reference, ray.get(reference)
        return work(self._common, part)


class RayWorkers:
    """The actors, from one call to the next."""

    def __init__(self, ray: Any, n_workers: int) -> None:
        """Start them, on a cluster that the process is connected to."""
        self._ray = ray
        self._actors = [ray.remote(num_cpus=1)(_Worker).remote() for _ in range(n_workers)]

    def map(
        self,
        work: Callable[[Common, Part], Result],
        common: Common,
        parts: Iterable[Part],
        *,
        in_threads: bool = False,
    ) -> Iterator[Result]:
        """Do a work on every part; see `Workers`."""
        del in_threads  # an actor has one CPU
        references = [self._ray.put(common)]
        actors = self._actors
        yield from work_ahead(
            parts,
            n_ahead=_AHEAD * len(actors),
            submit=lambda i, part: actors[i % len(actors)].do.remote(work, references, part),
            collect=self._ray.get,
        )


@contextlib.contextmanager
def open_workers(engine: Engine, n_workers: int, address: str | None) -> Iterator[Workers]:
    """Have workers until the block ends: this process, or actors on a Ray cluster.

    Args:
        engine: Which.
        n_workers: Actors.
        address: Of the cluster; without one it is `RAY_ADDRESS`, or a cluster on this machine.

    Raises:
        TrainingError: If Ray is not installed, or the cluster cannot be had or fails.
    """
    if engine == "inline":
        yield HERE
        return
    try:
        with connect_ray(n_workers, address, purpose="the engine ray") as ray:
            yield RayWorkers(ray, n_workers)
    except (MissingExtraError, RayClusterError) as error:
        raise TrainingError(str(error)) from error
