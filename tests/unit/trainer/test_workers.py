"""What is done in parts can be done elsewhere, to the same bits."""

import pickle
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import pytest

from services.trainer.core.parameters import RecipeName, TrainingParameters, report_nothing
from services.trainer.core.playbacks import make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.workers import HERE, Workers
from tests.unit.trainer.session_world import plant


class Elsewhere:
    """Does every part as if it had come from another process, and notes whose parts there were."""

    def __init__(self) -> None:
        self.n_parts: dict[str, list[int]] = {}

    def map(
        self,
        work: Callable[[Any, Any], Any],
        common: Any,
        parts: Iterable[Any],
        *,
        in_threads: bool = False,
    ) -> Iterator[Any]:
        parts = list(parts)
        self.n_parts.setdefault(work.__name__, []).append(len(parts))
        packed = pickle.dumps((work, common))
        for part in parts:
            there, shared = pickle.loads(packed)  # noqa: S301 - made two lines above
            yield pickle.loads(pickle.dumps(there(shared, pickle.loads(pickle.dumps(part)))))  # noqa: S301


def fit(recipe: RecipeName, workers: Workers) -> Fitted:
    playbacks = plant().playbacks.copy()
    playbacks["user"] += 2100 * (playbacks["session_low"] % 3).astype(np.int32)  # 900 listeners
    parameters = TrainingParameters(recipe=recipe, dim=8, neighbours=10, epochs=1)
    log = make_log(playbacks)
    return fit_recipe(
        log, plant().catalog, parameters=parameters, report=report_nothing, workers=workers
    )


@pytest.mark.parametrize("recipe", ["session", "track_only"])
def test_parts_done_elsewhere_give_the_same_bits(recipe: RecipeName) -> None:
    elsewhere = Elsewhere()
    here, there = fit(recipe, HERE), fit(recipe, elsewhere)
    assert here.metrics == there.metrics
    for name, array in here.arrays.items():
        assert np.array_equal(array, there.arrays[name]), name
    assert min(elsewhere.n_parts["_search_block"]) > 1
    if recipe == "session":
        assert min(elsewhere.n_parts["settle_users"]) == 3
        assert min(elsewhere.n_parts["update_block"]) > 4


def test_results_come_in_the_order_of_their_parts() -> None:
    for in_threads in (False, True):
        found = list(HERE.map(pow, 2, range(50), in_threads=in_threads))
        assert found == [2**n for n in range(50)]


def test_nobody_who_trains_here_imports_ray() -> None:
    code = "import sys, services.trainer.job; print('ray' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
