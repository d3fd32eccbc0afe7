"""Playing a live run in several processes, each with its own users."""

import asyncio
import contextlib
import multiprocessing
import queue
import signal
from multiprocessing.process import BaseProcess
from typing import Any

import numpy as np
from rich.console import Console

from simulator.adapters.patient_http import ServiceError
from simulator.adapters.progress import RunProgress
from simulator.commands.playing import Run, open_stage, play_stage
from simulator.core.dynamics import EpisodeArray
from simulator.core.world import WorldError
from simulator.live import Result, prepare, select_share

_POLL_S = 0.5

# What a process tells: a result, a word to show, the fault that stopped it, or that it is done.
_RESULT, _WORD, _FAULT, _DONE = range(4)


def play_in_processes(
    run: Run, episodes: EpisodeArray, n_processes: int, *, console: Console, results: list[Result]
) -> None:
    """Play episodes in processes; together they play exactly what one process would.

    Args:
        run: What to play.
        episodes: Which.
        n_processes: At once.
        console: For progress.
        results: Gets each result as its episode finishes, whatever happens after.

    Raises:
        ServiceError: If the recommender cannot be used, or a process dies.
    """
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    workers = [
        context.Process(
            target=_work,
            args=(run, episodes.tolist(), told),
            kwargs={"share": share, "n_shares": n_processes},
        )
        for share in range(n_processes)
    ]
    try:
        with RunProgress(console, "episodes", total=len(episodes), unit="episodes") as progress:
            for worker in workers:
                worker.start()
            _listen(told, workers, progress=progress, results=results)
    finally:
        for worker in workers:
            if worker.is_alive():
                worker.terminate()
        for worker in workers:
            worker.join()


def _listen(told: Any, workers: list[Any], *, progress: RunProgress, results: list[Result]) -> None:
    n_done = 0
    reward = 0.0
    while n_done < len(workers):
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
            results.append(Result(*content))
            reward += results[-1].time
            progress.advance(1, f"mean reward {reward / len(results):.3f}")


def _check_alive(workers: list[BaseProcess]) -> None:
    for worker in workers:
        if worker.exitcode not in (None, 0):
            raise ServiceError(f"{worker.name} died with exit code {worker.exitcode}")


def _work(run: Run, episodes: list[int], told: Any, *, share: int, n_shares: int) -> None:
    """Play one share; the parent decides what Ctrl-C means."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        stage = open_stage(run.settings)
        mine = select_share(
            stage.dynamics, run.seed, np.array(episodes), share=share, n_shares=n_shares
        )
        prepare(stage.dynamics, run.seed, mine)
        asyncio.run(
            play_stage(
                run,
                stage,
                mine,
                note=lambda r: told.put((_RESULT, (r.episode, r.user, r.time, r.tracks))),
                say=lambda word: told.put((_WORD, word)),
            )
        )
        told.put((_DONE, share))
    except (ServiceError, WorldError) as error:
        with contextlib.suppress(OSError):
            told.put((_FAULT, str(error)))
