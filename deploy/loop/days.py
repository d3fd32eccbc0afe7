"""The loop: day, retrain, next day; as steps that leave one row per day."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from deploy.loop.engine import Engine, Trained
from deploy.loop.judging import Judge
from deploy.loop.measures import Day, Measured, divide, measure, split_day
from deploy.loop.plan import Plan
from deploy.steps import Show, Step


@dataclass
class Loop:
    """What the days have come to so far.

    Attributes:
        plan: Of the loop.
        engine: That logs and trains.
        judge: Of each day's model.
        on_day: Told of each day when it is over.
        days: All of them.
    """

    plan: Plan
    engine: Engine
    judge: Judge
    on_day: Callable[[Day], None] = lambda _: None
    days: list[Day] = field(default_factory=list)
    _trained: Trained | None = None
    _greedy: Measured | None = None
    _oracle: Measured | None = None

    def steps(self) -> Sequence[Step]:
        """List all that is to be done, in order."""
        plan = self.plan
        steps = [Step(f"Log a history of {plan.history:,} sessions", self._log_history)]
        if plan.bounded:
            steps.append(Step(f"Let the oracle play {plan.bounded:,} sessions", self._bound))
        for day in range(1, plan.days + 1):
            steps.append(Step(f"Day {day}: train on all that is logged", self._train(day)))
            if plan.judged:
                title = f"Day {day}: judge the model in {plan.judged:,} sessions, unexploring"
                steps.append(Step(title, self._judge))
            title = f"Day {day}: let listeners play {plan.sessions:,} sessions"
            steps.append(Step(title, self._play(day)))
        return steps

    def _log_history(self, show: Show) -> str:
        visits = self.engine.log_history(show)
        mean = measure(visits.times, visits.users)
        self._add(
            Day(day=0, n_sessions=len(visits), n_events=int(visits.lengths.sum()), control=mean)
        )
        return f"{visits.lengths.sum():,} playbacks, {tell(mean)} a session"

    def _bound(self, show: Show) -> str:
        show("playing")
        self._oracle = self.judge.play_oracle()
        return f"oracle {tell(self._oracle)}"

    def _train(self, day: int) -> Callable[[Show], str]:
        def run(show: Show) -> str:
            self._trained = self.engine.train(day, show)
            return f"model version {self._trained.version} in {self._trained.seconds:.1f} s"

        return run

    def _judge(self, show: Show) -> str:
        assert self._trained is not None  # noqa: S101 - narrows for the type checker
        self._greedy = self.judge.play_greedily(self._trained, show)
        return f"without exploration {tell(self._greedy)}"

    def _play(self, day: int) -> Callable[[Show], str]:
        def run(show: Show) -> str:
            assert self._trained is not None  # noqa: S101 - narrows for the type checker
            visits = self.engine.play_day(day, show)
            control, treatment = split_day(visits, self.plan.experiments())
            best, oracle = self._greedy, self._oracle
            self._add(
                Day(
                    day=day,
                    n_sessions=len(visits),
                    n_events=int(visits.lengths.sum()),
                    n_cut=int((visits.lengths >= self.plan.most_plays).sum()),
                    n_fallbacks=visits.n_fallbacks,
                    control=control,
                    treatment=treatment,
                    ratio=divide(treatment, control),
                    greedy=best,
                    oracle=oracle,
                    oracle_share=divide(best or treatment, oracle) if oracle else None,
                    training_s=self._trained.seconds,
                    model_version=self._trained.version,
                    metrics=self._trained.metrics,
                )
            )
            return f"control {tell(control)}, treatment {tell(treatment)}"

        return run

    def _add(self, day: Day) -> None:
        self.days.append(day)
        self.on_day(day)


def tell(measured: Measured) -> str:
    """Write a number with its interval, to as many digits as that leaves."""
    digits = 2 if measured.margin < 1 else 1
    return f"{measured.value:,.{digits}f} ± {measured.margin:.{digits}f}"
