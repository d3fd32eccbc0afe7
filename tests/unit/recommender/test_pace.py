"""A treatment that is too slow does not make the listeners of others wait."""

from collections.abc import Iterator
from datetime import UTC, datetime

from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models
from services.recommender.core.pace import Pace
from services.recommender.core.sessions import Report
from shared.events import Event
from shared.experiments import parse_experiments
from tests.unit.recommender.factories import (
    CONTROL,
    EXPERIMENTS,
    FIRST_ID,
    TREATED,
    make_index,
    make_served,
)

INDEX = make_index()
MODELS = Models({"latest": make_served(INDEX)})


class Time:
    """A clock by which every decision costs what a test says."""

    def __init__(self) -> None:
        """Begin quick."""
        self.now = 0.0
        self.cost_s = 0.001
        self.n_asked = 0
        self._cpu_s = self._measure()

    def clock(self) -> Clock:
        """Return it as the decider wants it."""
        return Clock(
            now=lambda: datetime(2024, 5, 1, tzinfo=UTC),
            seconds=lambda: self.now,
            cpu_seconds=lambda: next(self._cpu_s),
        )

    def _measure(self) -> Iterator[float]:
        spent = 0.0
        while True:
            yield spent  # before a decision
            self.n_asked += 1
            spent += self.cost_s
            yield spent


def decide(decider: Decider, user: int) -> Event:
    outcome = decider.decide(Report("next", user, FIRST_ID, 0.5), None, MODELS)
    assert outcome.event
    return outcome.event


def make_decider(time: Time) -> Decider:
    experiments = parse_experiments(EXPERIMENTS)
    return Decider(INDEX, experiments, seed=0, clock=time.clock(), decision_s=0.025, rest_s=1.0)


def test_a_slow_treatment_is_served_by_its_fallbacks_and_asked_once_per_rest() -> None:
    time = Time()
    decider = make_decider(time)
    time.cost_s = 0.2
    reasons = [decide(decider, TREATED).fallback for _ in range(100)]
    assert reasons == [None] + ["contextual:too_slow"] * 99
    assert decide(decider, TREATED).recommender == "top_pop"
    n_asked = time.n_asked
    for _ in range(5):
        time.now += 1.01
        for _ in range(100):
            decide(decider, TREATED)
    assert time.n_asked == n_asked + 5


def test_others_are_served_as_ever_meanwhile() -> None:
    time = Time()
    decider = make_decider(time)
    for _ in range(10):
        time.cost_s = 0.2
        decide(decider, TREATED)
        time.cost_s = 0.001
        event = decide(decider, CONTROL)
        assert (event.recommender, event.fallback) == ("random", None)
    assert decide(decider, TREATED).fallback == "contextual:too_slow"


def test_one_quick_decision_ends_it() -> None:
    time = Time()
    decider = make_decider(time)
    time.cost_s = 0.2
    decide(decider, TREATED)
    time.now, time.cost_s = 2.0, 0.001
    assert [decide(decider, TREATED).fallback for _ in range(20)] == [None] * 20


def test_a_single_hiccup_is_forgiven() -> None:
    pace = Pace(limit_s=0.025, rest_s=1)
    for duration in [0.0005] * 20 + [0.08] + [0.0005] * 20 + [0.08]:
        pace.observe(duration, 0.0)
        assert not pace.is_resting(0.1)


def test_decisions_just_below_the_limit_are_in_time() -> None:
    pace = Pace(limit_s=0.025, rest_s=1)
    for _ in range(1000):
        pace.observe(0.0249, 0.0)
    assert not pace.is_resting(0.1)
    for _ in range(100):
        pace.observe(0.03, 0.0)
    assert pace.is_resting(0.1)
