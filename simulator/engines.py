"""Playing a policy's episodes in several processes or on a Ray cluster: the same, elsewhere.

A batch of episodes depends on nothing but its world, policy and seed, so batches are handed out as
workers get free, a bounded number ahead, and come back in order.
"""

import contextlib
import logging
import multiprocessing
import os
import signal
import socket
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from shared.extras import import_extra
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.policies import Policy
from simulator.rollout import Playbacks, play_batch, split_batches

_AHEAD = 2  # batches per worker that are handed out before the first must be back
_CONNECT_TIMEOUT_S = 5.0
_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

Pending = TypeVar("Pending")


class EngineError(RuntimeError):
    """Workers that cannot be had, or that died."""


class _Player:
    """What a worker keeps: a world, with the nearest tracks that it has found so far."""

    def __init__(self, dynamics: Dynamics, policy: Policy, seed: int) -> None:
        self._dynamics = Dynamics(  # what arrives from an object store cannot be written to
            embeddings=dynamics.embeddings,
            artist_rows=dynamics.artist_rows,
            listeners=dynamics.listeners,
        )
        self._policy = policy
        self._seed = seed

    def play(self, episodes: EpisodeArray) -> Playbacks:
        return play_batch(self._dynamics, self._policy, seed=self._seed, episodes=episodes)


def play_in_processes(
    dynamics: Dynamics, policy: Policy, *, seed: int, episodes: EpisodeArray, n_workers: int
) -> Iterator[Playbacks]:
    """Play episodes in processes of this machine, with one BLAS thread each.

    Args:
        dynamics: The world.
        policy: What recommends.
        seed: Of the listeners and the policy.
        episodes: Which episodes, ascending.
        n_workers: Processes.

    Yields:
        The playbacks of one batch of episodes after another.

    Raises:
        EngineError: If a process dies.
    """
    context = multiprocessing.get_context("spawn")
    with (
        _one_blas_thread(),
        ProcessPoolExecutor(
            n_workers, context, initializer=_begin_work, initargs=(dynamics, policy, seed)
        ) as pool,
    ):
        try:
            yield from _play_ahead(
                split_batches(policy, episodes),
                n_ahead=_AHEAD * n_workers,
                submit=lambda _, batch: pool.submit(_work, batch),
                collect=Future.result,
            )
        except BrokenProcessPool as error:
            raise EngineError(
                "a worker process died, of too little memory perhaps: try fewer --workers"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def play_on_ray(
    dynamics: Dynamics,
    policy: Policy,
    *,
    seed: int,
    episodes: EpisodeArray,
    n_workers: int,
    address: str | None = None,
) -> Iterator[Playbacks]:
    """Play episodes on a Ray cluster; the world travels once, through its object store.

    Args:
        dynamics: The world.
        policy: What recommends.
        seed: Of the listeners and the policy.
        episodes: Which episodes, ascending.
        n_workers: Actors, one CPU each.
        address: Of the cluster; without one it is `RAY_ADDRESS`, or a cluster on this machine that
            ends with the run. A driver that is connected already stays so.

    Yields:
        The playbacks of one batch of episodes after another.

    Raises:
        EngineError: If the cluster cannot be reached, or a worker dies.
        MissingExtraError: If Ray is not installed.
    """
    ray = import_extra("ray", extra="ray", purpose="--engine ray")
    try:
        with _connected(ray, n_workers, address):
            parts = ray.put(dynamics), ray.put(policy)
            remote = ray.remote(num_cpus=1)(_Player)
            players = [remote.remote(*parts, seed) for _ in range(n_workers)]
            yield from _play_ahead(
                split_batches(policy, episodes),
                n_ahead=_AHEAD * n_workers,
                submit=lambda i, batch: players[i % n_workers].play.remote(batch),
                collect=ray.get,
            )
    except (ray.exceptions.RayError, ConnectionError) as error:
        reason = str(error).strip().splitlines()[0]
        raise EngineError(f"the Ray cluster failed: {reason}") from error


def _play_ahead(
    batches: list[EpisodeArray],
    *,
    n_ahead: int,
    submit: Callable[[int, EpisodeArray], Pending],
    collect: Callable[[Pending], Playbacks],
) -> Iterator[Playbacks]:
    """Hand batches out and yield them in order, with at most `n_ahead` under way."""
    under_way: deque[Pending] = deque()
    for i, batch in enumerate(batches):
        if len(under_way) == n_ahead:
            yield collect(under_way.popleft())
        under_way.append(submit(i, batch))
    while under_way:
        yield collect(under_way.popleft())


@contextlib.contextmanager
def _connected(ray: Any, n_workers: int, address: str | None) -> Iterator[None]:
    """Connect to a cluster, or start one; leave it as it was found."""
    if ray.is_initialized():
        yield
        return
    quiet = {"log_to_driver": False, "logging_level": logging.ERROR}
    address = address or os.environ.get("RAY_ADDRESS")
    if address is None:
        ray.init(num_cpus=n_workers, include_dashboard=False, **quiet)
    else:
        _check_reachable(address)
        ray.init(address=address, **quiet)
    try:
        n_cpus = int(ray.cluster_resources().get("CPU", 0))
        if n_cpus < n_workers:
            raise EngineError(f"the Ray cluster has {n_cpus} CPUs for {n_workers} workers")
        yield
    finally:
        ray.shutdown()


def _check_reachable(address: str) -> None:
    """See that something listens there: Ray itself would try for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdigit():
        return  # a word of Ray's, as `auto`
    try:
        socket.create_connection((host, int(port)), _CONNECT_TIMEOUT_S).close()
    except OSError as error:
        raise EngineError(f"no Ray cluster at {address}: {error.strerror or error}") from error


@contextlib.contextmanager
def _one_blas_thread() -> Iterator[None]:
    """Let the processes that are started meanwhile have one BLAS thread each."""
    before = {name: os.environ.get(name) for name in _BLAS_THREADS}
    os.environ.update(dict.fromkeys(_BLAS_THREADS, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


_players: list[_Player] = []  # the one of a worker process


def _begin_work(dynamics: Dynamics, policy: Policy, seed: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides what Ctrl-C means
    _players.append(_Player(dynamics, policy, seed))


def _work(episodes: EpisodeArray) -> Playbacks:
    return _players[0].play(episodes)
