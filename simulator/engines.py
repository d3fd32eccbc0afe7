"""Playing a policy's episodes in several processes or on a Ray cluster: the same, elsewhere.

A batch of episodes depends on nothing but its world, policy and seed, so batches are handed out as
workers get free, a bounded number ahead, and come back in order.
"""

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool

from shared.ahead import work_ahead
from shared.ray_cluster import RayClusterError, connect_ray
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.policies import Policy
from simulator.rollout import Playbacks, play_batch, split_batches

_AHEAD = 2  # batches per worker that are handed out before the first must be back
_BLAS_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


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
            yield from work_ahead(
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
    try:
        with connect_ray(n_workers, address, purpose="--engine ray") as ray:
            parts = ray.put(dynamics), ray.put(policy)
            remote = ray.remote(num_cpus=1)(_Player)
            players = [remote.remote(*parts, seed) for _ in range(n_workers)]
            yield from work_ahead(
                split_batches(policy, episodes),
                n_ahead=_AHEAD * n_workers,
                submit=lambda i, batch: players[i % n_workers].play.remote(batch),
                collect=ray.get,
            )
    except RayClusterError as error:
        raise EngineError(str(error)) from error


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
