"""A treatment that is too slow does not make the listeners of others wait."""

from datetime import UTC, datetime

import msgspec
import numpy as np
import numpy.typing as npt

from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models
from services.recommender.core.sessions import Report
from shared.definitions import parse_experiments
from shared.events import Event
from tests.unit.recommender.factories import (
    CONTROL,
    EXPERIMENTS,
    FIRST_ID,
    TREATED,
    make_index,
    make_served,
)

INDEX = make_index()


class Time:
    """A clock, and the neighbours of a model that take as long to look up as a test says."""

    def __init__(self) -> None:
        """Begin quick."""
        self.now = 0.0
        self.computed_s = 0.0
        self.cost_s = 0.001
        self.wait_s = 0.0
        self.n_asked = 0

    def clock(self) -> Clock:
        """Return it as the decider wants it."""
        return Clock(
            now=lambda: datetime(2024, 5, 1, tzinfo=UTC),
            seconds=lambda: self.now,
            cpu_seconds=lambda: self.computed_s,
        )

    def __getitem__(self, row: int) -> npt.NDArray[np.int32]:
        """Return the neighbours of a row."""
        self.n_asked += 1
        self.now += self.cost_s + self.wait_s
        self.computed_s += self.cost_s
        return np.arange(1, 13, dtype=np.int32)


class Deciding:
    """A decider whose treatment is as slow as its time says."""

    def __init__(self, time: Time) -> None:
        """Make it."""
        experiments = parse_experiments(EXPERIMENTS)
        served = msgspec.structs.replace(make_served(INDEX), neighbours=time)
        self._models = Models({"latest": served})
        self._decider = Decider(
            INDEX, experiments, seed=0, clock=time.clock(), decision_s=0.025, rest_s=1.0
        )

    def __call__(self, user: int = TREATED) -> Event:
        """Decide on the first playback of a session."""
        outcome = self._decider.decide(Report("next", user, FIRST_ID, 0.5), None, self._models)
        assert outcome.event
        return outcome.event


def test_a_slow_treatment_is_served_by_its_fallbacks_and_asked_once_per_rest() -> None:
    time = Time()
    decide = Deciding(time)
    time.cost_s = 0.2
    reasons = [decide().fallback for _ in range(100)]
    assert reasons == [None, None] + ["contextual:too_slow"] * 98
    assert decide().recommender == "top_pop"
    for n in range(5):
        time.now += 1.01
        for _ in range(100):
            decide()
        assert time.n_asked == 3 + n


def test_others_are_served_as_ever_meanwhile() -> None:
    time = Time()
    decide = Deciding(time)
    time.cost_s = 0.2
    for _ in range(10):
        decide(TREATED)
        event = decide(CONTROL)
        assert (event.recommender, event.fallback, event.latency) == ("random", None, 0.0)
    assert decide(TREATED).fallback == "contextual:too_slow"
    assert time.now < 0.5


def test_one_quick_decision_ends_it() -> None:
    time = Time()
    decide = Deciding(time)
    time.cost_s = 0.2
    assert [decide().fallback for _ in range(3)][-1] == "contextual:too_slow"
    time.now, time.cost_s = 2.0, 0.001
    assert [decide().fallback for _ in range(20)] == [None] * 20


def test_a_hiccup_is_forgiven() -> None:
    time = Time()
    decide = Deciding(time)
    for n in range(100):
        time.cost_s = 0.08 if n % 10 == 0 else 0.0005
        assert decide().fallback is None


def test_a_busy_machine_is_not_the_treatments_fault() -> None:
    time = Time()
    decide = Deciding(time)
    time.wait_s = 0.5
    assert [decide().fallback for _ in range(50)] == [None] * 50


def test_decisions_just_below_the_limit_are_in_time() -> None:
    time = Time()
    decide = Deciding(time)
    time.cost_s = 0.0249
    assert [decide().fallback for _ in range(50)] == [None] * 50
    time.cost_s = 0.026
    assert [decide().fallback for _ in range(50)][-1] == "contextual:too_slow"
