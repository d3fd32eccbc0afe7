"""The order of the loop's steps and its rows, by an engine with a script."""

import io
from dataclasses import dataclass, field

import numpy as np
from rich.console import Console

from deploy.loop.days import Loop
from deploy.loop.engine import Trained
from deploy.loop.judging import Judge
from deploy.loop.measures import Measured, find_treated
from deploy.loop.plan import Plan
from deploy.loop.plays import Visits
from deploy.steps import Show, StepError, run_steps

PLAN = Plan(days=2, history=10, sessions=40, judged=5, bounded=5, most_plays=50)


def make_visits(n: int, *, treated: float) -> Visits:
    users = np.arange(n, dtype=np.int32)
    times = np.where(find_treated(users, PLAN.experiments()), treated, 2.0)
    lengths = np.full(n, 7, np.int32)
    lengths[:3] = PLAN.most_plays
    return Visits(users=users, times=times, lengths=lengths, n_fallbacks=4)


@dataclass
class ScriptedEngine:
    """Every day is twice as good as the one before; fails at a given training."""

    fails_on: int | None = None
    calls: list[str] = field(default_factory=list)

    def log_history(self, show: Show) -> Visits:
        """Log it."""
        self.calls.append("history")
        return make_visits(PLAN.history, treated=2.0)

    def train(self, day: int, show: Show) -> Trained:
        """Train, or fail."""
        if day == self.fails_on:
            raise StepError("no disk")
        self.calls.append(f"train {day}")
        return Trained(version=f"m{day}", arrays={}, metrics={"gamma": 0.8}, seconds=day)

    def play_day(self, day: int, show: Show) -> Visits:
        """Play."""
        self.calls.append(f"play {day}")
        return make_visits(PLAN.sessions, treated=10.0 * 2**day)


class ScriptedJudge(Judge):
    """Knows what the models are worth."""

    def __init__(self) -> None:
        """Need no world."""

    def play_greedily(self, trained: Trained, show: Show) -> Visits:
        """Play sessions whose time tells the version."""
        n = PLAN.judged
        times = np.full(n, 50.0 * int(trained.version[1:]))
        return Visits(users=np.arange(n, dtype=np.int32), times=times, lengths=np.full(n, 9))

    def play_oracle(self) -> Measured:
        """Say 400."""
        return Measured(400.0, 40.0, 1.0, 5)


def run(engine: ScriptedEngine) -> tuple[bool, Loop, str]:
    output = io.StringIO()
    loop = Loop(PLAN, engine, ScriptedJudge())
    return run_steps(loop.steps(), Console(file=output, width=200)), loop, output.getvalue()


def test_each_day_is_trained_on_before_it_is_played() -> None:
    engine = ScriptedEngine()
    is_done, _, _ = run(engine)
    assert is_done
    assert engine.calls == ["history", "train 1", "play 1", "train 2", "play 2"]


def test_a_row_says_what_its_day_came_to() -> None:
    _, loop, _ = run(ScriptedEngine())
    history, first, second = loop.days
    assert (history.day, history.n_sessions, history.control.value) == (0, 10, 2.0)
    assert history.treatment is None
    assert first.treatment is not None
    assert (first.control.value, first.treatment.value) == (2.0, 20.0)
    assert first.ratio == Measured(10.0, 0.0)
    assert (first.n_sessions, first.n_cut, first.n_fallbacks) == (40, 3, 4)
    assert first.n_events == 3 * 50 + 37 * 7
    assert second.greedy is not None
    assert (second.model_version, second.greedy.value, second.training_s) == ("m2", 100.0, 2)
    assert second.oracle_share is not None
    assert second.oracle_share.value == 0.25


def test_days_that_were_over_before_a_failure_stay() -> None:
    is_done, loop, output = run(ScriptedEngine(fails_on=2))
    assert not is_done
    assert [day.day for day in loop.days] == [0, 1]
    assert "no disk" in output
