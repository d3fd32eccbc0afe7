"""The short form of `make chaos`, on the stack that the demonstration leaves."""

import io

import pytest
from rich.console import Console

from benchmarks.chaos.faults import FAULTS
from benchmarks.chaos.laboratory import Laboratory, make_laboratory
from benchmarks.chaos.rounds import Pace, play_round
from deploy.local.segue import create_stack
from deploy.local.settings import parse_settings
from tests.e2e.conftest import RunningStack

PACE = Pace(before_s=1.0, fault_s=1.0, after_s=1.0, concurrency=8)


@pytest.fixture(scope="module")
def laboratory(stack: RunningStack) -> Laboratory:
    """Return the running stack as a laboratory."""
    return make_laboratory(
        create_stack(parse_settings(stack.environment), Console(file=io.StringIO()))
    )


@pytest.mark.parametrize("name", ["recommender", "redis", "poison"])
def test_what_was_answered_is_stored_once(laboratory: Laboratory, name: str) -> None:
    outcome = play_round(laboratory, FAULTS[name], PACE, seed=len(name))
    assert outcome.failures == []
    assert outcome.verdict.forked == []
    assert outcome.verdict.n_answered > 20
