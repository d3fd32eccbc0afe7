"""Work in forked processes."""

import os
import signal

import numpy as np
import pytest

from deploy.loop.forks import WorkerDiedError, map_forked, run_forked


@pytest.mark.parametrize("n_workers", [1, 3])
def test_results_come_in_order_from_other_processes(n_workers: int) -> None:
    here = os.getpid()
    results = list(map_forked(lambda x: (x * x, os.getpid()), range(9), n_workers=n_workers))
    assert [value for value, _ in results] == [x * x for x in range(9)]
    assert here not in {pid for _, pid in results}


def test_what_the_function_refers_to_is_shared() -> None:
    unpicklable = {"f": lambda: 5, "a": np.arange(4)}
    assert run_forked(lambda x: unpicklable["f"]() + unpicklable["a"].sum() + x, 1) == 12


def test_an_error_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        run_forked(lambda: 1 // 0)


def test_a_process_that_dies_does_not_hang_the_others() -> None:
    with pytest.raises(WorkerDiedError, match="memory"):
        run_forked(lambda: os.kill(os.getpid(), signal.SIGKILL))
