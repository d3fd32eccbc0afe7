"""Claim: off-policy estimates are about what a policy earns when it is played, or are refused.

python -m benchmarks.off_policy [--worlds 4] [--experiments 25] [--sessions 1500]

Listeners of generated worlds hear random tracks. From each experiment's log alone every estimator
says what other policies would earn; then those are played. Prints, per policy and estimator, the
truth, the bias in percent of it, how often the 95% interval holds it, the interval's half width,
and the exposures that the log is worth. Exits with 1 where intervals hold the truth too rarely.
"""

import argparse
import dataclasses
import sys
from collections.abc import Iterator

import numpy as np

from analysis.core.exposures import LoggedSession
from analysis.core.off_policy import NoSupportError, OffPolicyEstimate
from analysis.core.policy_value import estimate_decisions, estimate_sessions, weigh
from analysis.core.targets import Target
from benchmarks.off_policy.stage import Stage, make_stage
from simulator.core.world import WorldParameters

POLICIES = (
    ("contextual", {}),
    ("contextual", {"anchor": "last"}),
    ("top_pop", {"n": 100}),
    ("top_pop", {"n": 200}),
    ("sticky_artist", {}),
)
HORIZONS = (1, 2, 3)
N_TRUTH = 20_000  # sessions played for what is true of sessions
FIRST_TRUTH = 10_000_000  # episode: of listeners' visits that no experiment holds
SUSPECT = 3.5  # standard errors
BIASED = ("clipped",)


@dataclasses.dataclass
class Line:
    """What an estimator said in all experiments of one kind."""

    truths: list[float] = dataclasses.field(default_factory=list)
    estimates: list[OffPolicyEstimate] = dataclasses.field(default_factory=list)

    def add(self, truth: float, estimate: OffPolicyEstimate) -> None:
        """Add an experiment."""
        self.truths.append(truth)
        self.estimates.append(estimate)

    @property
    def n_held(self) -> int:
        """Experiments whose interval holds the truth."""
        pairs = zip(self.truths, self.estimates, strict=True)
        return sum(each.lower <= truth <= each.upper for truth, each in pairs)

    def is_wrong(self) -> bool:
        """Say whether intervals hold the truth more rarely than chance explains."""
        n = len(self.truths)
        return 0.95 - self.n_held / n > SUSPECT * (0.05 * 0.95 / n) ** 0.5


class Table:
    """Lines by what is asked, of which policy, and by which estimator."""

    def __init__(self) -> None:
        """Start empty."""
        self._lines: dict[tuple[str, str, str], Line] = {}
        self._refused: dict[tuple[str, str], int] = {}

    def add(
        self, question: str, policy: str, truth: float, estimates: list[OffPolicyEstimate]
    ) -> None:
        """Add an experiment."""
        for estimate in estimates:
            key = question, policy, estimate.method
            self._lines.setdefault(key, Line()).add(truth, estimate)

    def refuse(self, question: str, policy: str) -> None:
        """Count an experiment whose log could not say."""
        key = question, policy
        self._refused[key] = self._refused.get(key, 0) + 1

    def show(self) -> int:
        """Print it, and return how many lines are wrong."""
        print(f"{'asked':10} {'policy':22} {'by':8} {'n':>4} {'truth':>7} {'bias %':>14}", end="")
        print(f" {'held %':>12} {'± %':>6} {'worth':>7}")
        n_wrong = 0
        for (question, policy, method), line in self._lines.items():
            truth = float(np.mean(line.truths))
            errors = [e.value - t for t, e in zip(line.truths, line.estimates, strict=True)]
            n, held = len(errors), line.n_held / len(errors)
            noise = 100 * float(np.std(errors)) / n**0.5 / truth
            half = 100 * float(np.mean([e.upper - e.lower for e in line.estimates])) / 2 / truth
            worth = float(np.mean([e.n_effective for e in line.estimates]))
            is_wrong = line.is_wrong() and method not in BIASED
            n_wrong += is_wrong
            print(
                f"{question:10} {policy:22} {method:8} {n:4} {truth:7.3f} "
                f"{100 * float(np.mean(errors)) / truth:+7.2f} ± {noise:4.2f} "
                f"{100 * held:6.1f} ± {100 * (held * (1 - held) / n) ** 0.5:3.1f} {half:6.1f} "
                f"{worth:7.0f}{'   <-- WRONG' if is_wrong else ''}"
            )
        for (question, policy), n_refused in self._refused.items():
            print(f"{question:10} {policy:22} refused {n_refused} times")
        return n_wrong


def name_policy(recommender: str, parameters: dict[str, object]) -> str:
    """Write a policy."""
    return " ".join([recommender, *(f"{key}={value}" for key, value in parameters.items())])


def true_session_values(stage: Stage, target: Target) -> list[float]:
    """Play a policy, and return what the first recommendations earn, per horizon."""
    episodes = range(FIRST_TRUTH, FIRST_TRUTH + N_TRUTH)
    sessions = stage.play(target, episodes, most=max(HORIZONS))
    return [float(np.mean([sum(s.times[1 : h + 1]) for s in sessions])) for h in HORIZONS]


def try_world(stage: Stage, table: Table, *, n_experiments: int, n_sessions: int) -> None:
    """Estimate in every experiment of a world, and compare with what is true there."""
    log = stage.play(stage.make_target("random"), range(n_experiments * n_sessions))
    experiments = [log[n : n + n_sessions] for n in range(0, len(log), n_sessions)]
    for recommender, parameters in POLICIES:
        target = stage.make_target(recommender, **parameters)
        name = name_policy(recommender, parameters)
        truth = stage.reward_in(log, target, first_episode=0)
        truths = true_session_values(stage, target)
        for experiment in experiments:
            for question, true, estimates in ask(experiment, target, stage, truth, truths):
                if estimates is None:
                    table.refuse(question, name)
                else:
                    table.add(question, name, true, estimates)


def ask(
    experiment: list[LoggedSession],
    target: Target,
    stage: Stage,
    truth: float,
    truths: list[float],
) -> Iterator[tuple[str, float, list[OffPolicyEstimate] | None]]:
    """Ask one log everything; None where it cannot say."""
    weighed = weigh(experiment, target, stage.tracks)
    try:
        yield "decision", truth, estimate_decisions(weighed, stage.tracks)
    except NoSupportError:
        yield "decision", truth, None
    for horizon, true in zip(HORIZONS, truths, strict=True):
        try:
            yield f"first {horizon}", true, estimate_sessions(weighed, horizon=horizon)
        except NoSupportError:
            yield f"first {horizon}", true, None


def main() -> int:
    """Run it, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--worlds", type=int, default=4)
    parser.add_argument("--experiments", type=int, default=25, help="in each world")
    parser.add_argument("--sessions", type=int, default=1500, help="in each experiment")
    options = parser.parse_args()
    table = Table()
    for seed in range(options.worlds):
        parameters = WorldParameters(n_tracks=400, n_artists=60, n_users=3000, seed=seed)
        try_world(
            make_stage(parameters),
            table,
            n_experiments=options.experiments,
            n_sessions=options.sessions,
        )
        print(f"world {seed + 1} of {options.worlds}", file=sys.stderr, flush=True)
    return 1 if table.show() else 0


if __name__ == "__main__":
    sys.exit(main())
