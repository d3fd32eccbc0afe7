"""Playing a live run in several processes, each with its own users."""

import contextlib
import multiprocessing
import queue
import signal
import threading
import time
from collections.abc import Callable, Iterator
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
import uvloop

from simulator.adapters.patient_http import ServiceError
from simulator.adapters.progress import RunProgress
from simulator.commands.playing import Run, open_stage, play_until_stopped
from simulator.commands.tally import Tally
from simulator.core.dynamics import EpisodeArray
from simulator.core.world import WorldError
from simulator.live import Watch, prepare, select_share

_POLL_S = 0.5
_GRACE_S = 10.0  # for processes to close their sessions in

# What a process tells: a result, a word to show, the fault that stopped it, or that it is done.
_RESULT, _WORD, _FAULT, _DONE = range(4)


def play_in_processes(
    run: Run, episodes: EpisodeArray, n_processes: int, *, progress: RunProgress, tally: Tally
) -> None:
    """Play episodes in processes; together they play exactly what one process would.

    Args:
        run: What to play.
        episodes: Which.
        n_processes: At once.
        progress: To show.
        tally: Gets each result as its episode finishes, whatever happens after.

    Raises:
        ServiceError: If the recommender cannot be used, or a process dies.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    workers = [
        context.Process(
            target=_work,
            args=(run, episodes.tolist(), told),
            kwargs={"share": share, "n_shares": n_processes, "records": tally.records},
        )
        for share in range(n_processes)
    ]
    try:
        for worker in workers:
            worker.start()
        with _interrupted_between_messages() as check:
            _listen(told, workers, check, progress=progress, tally=tally)
    finally:
        _stop(told, workers, progress=progress, tally=tally)


@contextlib.contextmanager
def _interrupted_between_messages() -> Iterator[Callable[[], None]]:
    """Let Ctrl-C wait until it is asked for: in the middle of a message the rest is lost."""
    is_interrupted = threading.Event()
    before = signal.signal(signal.SIGINT, lambda *_: is_interrupted.set())

    def check() -> None:
        if is_interrupted.is_set():
            raise KeyboardInterrupt

    try:
        yield check
    finally:
        signal.signal(signal.SIGINT, before)


def _listen(
    told: Any,
    workers: list[Any],
    check: Callable[[], None],
    *,
    progress: RunProgress,
    tally: Tally,
) -> None:
    n_done = 0
    while n_done < len(workers):
        check()
        try:
            kind, content = told.get(timeout=_POLL_S)
        except queue.Empty:
            _check_alive(workers)
            continue
        if kind == _DONE:
            n_done += 1
        elif kind == _FAULT:
            raise ServiceError(content)
        elif kind == _WORD:
            progress.say(content)
        else:
            tally.add(content, progress)


def _stop(told: Any, workers: list[Any], *, progress: RunProgress, tally: Tally) -> None:
    """Let workers close their sessions and take what they still tell; kill them if that is slow."""
    deadline = time.monotonic() + _GRACE_S
    try:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        while any(worker.is_alive() for worker in workers) and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                kind, content = told.get(timeout=_POLL_S)
                if kind == _RESULT:
                    tally.add(content, progress)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.kill()
            if worker.pid is not None:
                worker.join()


def _check_alive(workers: list[BaseProcess]) -> None:
    for worker in workers:
        if worker.exitcode not in (None, 0):
            raise ServiceError(f"{worker.name} died with exit code {worker.exitcode}")


def _work(
    run: Run, episodes: list[int], told: Any, *, share: int, n_shares: int, records: bool
) -> None:
    """Play one share; the parent decides what Ctrl-C means, and terminates."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stage = open_stage(run.settings)
        mine = select_share(
            stage.dynamics, run.seed, np.array(episodes), share=share, n_shares=n_shares
        )
        prepare(stage.dynamics, run.seed, mine)
        uvloop.run(
            play_until_stopped(
                run,
                stage,
                mine,
                watch=Watch(lambda result: told.put((_RESULT, result)), records=records),
                say=lambda word: told.put((_WORD, word)),
                stop_signal=signal.SIGTERM,
            )
        )
        told.put((_DONE, share))
    except (ServiceError, WorldError) as error:
        with contextlib.suppress(OSError):
            told.put((_FAULT, str(error)))
