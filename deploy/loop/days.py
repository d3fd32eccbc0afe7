"""The loop: day, retrain, next day; as steps that leave one row per day."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

from deploy.loop.engine import Engine, Trained
from deploy.loop.judging import Judge
from deploy.loop.measures import Day, Measured, divide, measure, split_day
from deploy.loop.plan import Plan
from deploy.loop.plays import Visits
from deploy.steps import Show, Step


@dataclass
class Loop:
    """What the days have come to so far.

    Attributes:
        plan: Of the loop.
        engine: That logs and trains.
        judge: Of each day's model.
        days: Those that are over.
        judged: What the sessions came to that judge each day's model.
    """

    plan: Plan
    engine: Engine
    judge: Judge
    days: list[Day] = field(default_factory=list)
    judged: list[Visits] = field(default_factory=list)
    _trained: Trained | None = None
    _oracle: Measured | None = None

    def steps(self) -> Sequence[Step]:
        """List all that is to be done, in order."""
        plan = self.plan
        steps = [Step(f"Log a history of {plan.history:,} sessions", self._log_history)]
        if plan.bounded:
            steps.append(Step(f"Let the oracle play {plan.bounded:,} sessions", self._bound))
        for day in range(1, plan.days + 1):
            train, play = partial(self._train, day), partial(self._play, day)
            steps.append(Step(f"Day {day}: train on all that is logged", train))
            if plan.judged:
                title = f"Day {day}: judge the model by {plan.judged:,} sessions, unexploring"
                steps.append(Step(title, self._judge))
            steps.append(Step(f"Day {day}: let listeners play {plan.sessions:,} sessions", play))
        return steps

    def _log_history(self, show: Show) -> str:
        visits = self.engine.log_history(show)
        mean = measure_all(visits)
        self.days.append(
            Day(day=0, n_sessions=len(visits), n_events=int(visits.lengths.sum()), control=mean)
        )
        return f"{visits.lengths.sum():,} playbacks, {tell(mean)} a session"

    def _bound(self, show: Show) -> str:
        show("playing")
        self._oracle = self.judge.play_oracle()
        return f"oracle {tell(self._oracle)}"

    def _train(self, day: int, show: Show) -> str:
        trained = self._trained = self.engine.train(day, show)
        return f"model version {trained.version} in {trained.seconds:.1f} s"

    def _judge(self, show: Show) -> str:
        assert self._trained is not None  # noqa: S101 - narrows for the type checker
        self.judged.append(self.judge.play_greedily(self._trained, show))
        return f"without exploration {tell(measure_all(self.judged[-1]))}"

    def _play(self, day: int, show: Show) -> str:
        assert self._trained is not None  # noqa: S101 - narrows for the type checker
        visits = self.engine.play_day(day, show)
        control, treatment = split_day(visits, self.plan.experiments())
        greedy, oracle = measure_all(self.judged[-1]) if self.judged else None, self._oracle
        self.days.append(
            Day(
                day=day,
                n_sessions=len(visits),
                n_events=int(visits.lengths.sum()),
                n_cut=self.plan.count_cut(visits.lengths),
                n_fallbacks=visits.n_fallbacks,
                control=control,
                treatment=treatment,
                ratio=divide(treatment, control),
                greedy=greedy,
                oracle=oracle,
                oracle_share=divide(greedy or treatment, oracle) if oracle else None,
                training_s=self._trained.seconds,
                model_version=self._trained.version,
                metrics=self._trained.metrics,
            )
        )
        return f"control {tell(control)}, treatment {tell(treatment)}"


def measure_all(visits: Visits) -> Measured:
    """Measure sessions, whatever their arm."""
    return measure(visits.times, visits.users)


def tell(measured: Measured) -> str:
    """Write a number with its interval, to as many digits as that leaves."""
    digits = 2 if measured.margin < 1 else 1
    return f"{measured.value:,.{digits}f} ± {measured.margin:.{digits}f}"
