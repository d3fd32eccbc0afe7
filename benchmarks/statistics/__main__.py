"""Claim: the statistics of experiments err as often as they say, on simulated listeners.

python -m benchmarks.statistics [--trials 2000]

Plays listeners in process under two policies, draws experiments from them with replacement (so
that the truth is that of all listeners, exactly) and analyses each with the code of `analysis`.
Prints every rate with its Monte Carlo standard error. Exits with 1 where a rate that theory fixes
is more than 3.5 standard errors from it.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence

import numpy as np

from analysis.core.effects import Effect
from analysis.core.moments import MetricAggregate
from analysis.core.planning import estimate_power
from benchmarks.statistics.population import METRICS, Population, make_population, mix, play
from benchmarks.statistics.trials import (
    ALPHA,
    Rate,
    covers,
    log_changes,
    rate,
    run_families,
    run_fixed,
    run_watched,
)
from simulator.core.bounds import PerfectContext
from simulator.core.policies import Random, StickyArtist
from simulator.core.world import WorldParameters, make_dynamics, make_world

SUSPECT = 3.5  # standard errors; some thirty rates are checked
N_USERS = 1000  # in each arm
SHARE = 0.08  # of the treatment's sessions that another policy serves


class Checks:
    """Prints rates and remembers those that theory does not allow."""

    def __init__(self) -> None:
        """Start without any."""
        self.failed: list[str] = []

    def show(
        self, name: str, found: Rate, *, nominal: float | None = None, at_most: bool = False
    ) -> None:
        """Print a rate; check it if theory fixes it, or bounds it."""
        line = f"  {name:58} {found}"
        if nominal is not None:
            distance = found.distance(nominal)
            is_wrong = distance > SUSPECT or (distance < -SUSPECT and not at_most)
            bound = "at most" if at_most else "nominal"
            line += f"   {bound} {100 * nominal:.2f}%{'   <-- WRONG' if is_wrong else ''}"
            if is_wrong:
                self.failed.append(name)
        print(line, flush=True)


def make_populations() -> tuple[Population, Population, Population]:
    """Play listeners: under random, with some sessions of sticky_artist, and heavy-tailed."""
    world = make_world(WorldParameters(n_tracks=5000, n_artists=500, n_users=5000, seed=1))
    dynamics = make_dynamics(world)
    usual = play(dynamics, Random(dynamics.n_tracks), seed=2, n_sessions=80_000)
    other = play(
        dynamics, StickyArtist(dynamics.artist_rows, replays=True), seed=2, n_sessions=80_000
    )
    context = play(dynamics, PerfectContext(dynamics), seed=3, n_sessions=30_000)
    return (
        make_population(usual, usual),
        make_population(mix(usual, other, share=SHARE, seed=4), usual),
        make_population(context, context),
    )


def check_no_effect(population: Population, n_trials: int, checks: Checks) -> None:
    """A/A at a fixed horizon: false positives, coverage, what CUPED takes away."""
    print(f"\nA/A, {n_trials} experiments of {N_USERS} users in each arm, analysed once")
    for metric in METRICS:
        effects = run_fixed(
            population, population, metric=metric, n_users=N_USERS, n_trials=n_trials, seed=10
        )
        print(f" {metric}")
        checks.show("false positives", rate([bool(e.significant) for e in effects]), nominal=ALPHA)
        checks.show(
            "false positives with CUPED",
            rate([(e.cuped_p_value or 0.0) < ALPHA for e in effects]),
            nominal=ALPHA,
        )
        checks.show("intervals that hold the truth", covers(effects, 0), nominal=1 - ALPHA)
        checks.show(
            "CUPED's intervals that hold it", covers(effects, 0, kind="cuped_"), nominal=1 - ALPHA
        )
        print(f"  {'variance that CUPED takes away':58} {_describe_reduction(effects)}")


def _describe_reduction(effects: Sequence[Effect]) -> str:
    plain, adjusted = log_changes(effects), log_changes(effects, kind="cuped_")
    found = 100 * (1 - adjusted.var() / plain.var())
    # of the ratio of two correlated variances, by resampling the experiments
    picks = np.random.default_rng(0).integers(0, len(plain), (500, len(plain)))
    error = 100 * np.std(adjusted[picks].var(axis=1) / plain[picks].var(axis=1))
    said = np.mean([effect.cuped_reduction_pct for effect in effects])
    return f"{found:6.2f}% ± {error:.2f}   said {said:.2f}%"


def check_effect(control: Population, treated: Population, n_trials: int, checks: Checks) -> None:
    """A/B at a fixed horizon: power as predicted, coverage."""
    print(f"\nA/B, {n_trials} experiments of {N_USERS} users in each arm, analysed once")
    everyone = [np.arange(len(population)) for population in (control, treated)]
    for metric in METRICS:
        truth = 100 * (treated.truth(metric) / control.truth(metric) - 1)
        arms = [
            population.aggregate(metric, users)
            for population, users in zip((control, treated), everyone, strict=True)
        ]
        sized = [MetricAggregate(N_USERS, arm.mean, arm.variance) for arm in arms]
        predicted = estimate_power(*sized, effect_pct=truth, alpha=ALPHA)
        effects = run_fixed(
            control, treated, metric=metric, n_users=N_USERS, n_trials=n_trials, seed=11
        )
        print(f" {metric}: true change {truth:+.2f}%")
        checks.show("found", rate([bool(e.significant) for e in effects]), nominal=predicted)
        found = rate([(e.cuped_p_value or 1.0) < ALPHA for e in effects])
        checks.show("found with CUPED", found)
        checks.show("intervals that hold the truth", covers(effects, truth), nominal=1 - ALPHA)
        held = covers(effects, truth, kind="cuped_")
        checks.show("CUPED's intervals that hold it", held, nominal=1 - ALPHA)


def check_watching(control: Population, treated: Population, n_trials: int, checks: Checks) -> None:
    """A look after each of 14 days: what naive looking does, and what the sequence does."""
    metric = "mean_time_per_session"
    modes = {"users at once, sessions day by day": False, "users day by day": True}
    for described, arrive in modes.items():
        print(f"\n14 daily looks, {n_trials} experiments of {N_USERS} users: {described}")
        null = run_watched(
            control,
            control,
            metric=metric,
            n_users=N_USERS,
            n_trials=n_trials,
            seed=12,
            arrive=arrive,
        )
        checks.show("A/A: fixed-horizon test, ever significant", rate([w.naive for w in null]))
        checks.show(
            "A/A: anytime-valid interval, ever without zero",
            rate([w.anytime for w in null]),
            nominal=ALPHA,
            at_most=True,
        )
        checks.show(
            "A/A: the rule ever ships",
            rate([w.action == "ship" for w in null]),
            nominal=ALPHA / 2,
            at_most=True,
        )
        real = run_watched(
            control,
            treated,
            metric=metric,
            n_users=N_USERS,
            n_trials=n_trials,
            seed=13,
            arrive=arrive,
        )
        checks.show(
            "A/B: anytime-valid interval ever misses the truth",
            rate([w.missed for w in real]),
            nominal=ALPHA,
            at_most=True,
        )
        checks.show("A/B: the rule ships", rate([w.action == "ship" for w in real]))
        days = np.mean([w.day for w in real if w.action == "ship"] or [0])
        print(f"  {'A/B: mean day on which it ships':58} {days:6.1f}")


def check_tails(population: Population, n_trials: int, checks: Checks) -> None:
    """Heavy tails: from how many users on the tests are nominal."""
    values = population.sums[:, -1, 1] / population.sums[:, -1, 0]
    skewness = ((values - values.mean()) ** 3).mean() / values.std() ** 3
    print(
        f"\nHeavy tails (perfect_context): mean_time_per_session of mean {values.mean():.1f}, "
        f"standard deviation {values.std():.1f}, skewness {skewness:.1f}"
    )
    for n_users in (10, 30, 100, 300, 1000):
        effects = run_fixed(
            population,
            population,
            metric="mean_time_per_session",
            n_users=n_users,
            n_trials=n_trials,
            seed=14,
        )
        nominal = ALPHA if n_users >= 100 else None
        hits = rate([bool(effect.significant) for effect in effects])
        checks.show(f"{n_users:5} users: false positives", hits, nominal=nominal)
        held = covers(effects, 0)
        nominal = 1 - ALPHA if n_users >= 100 else None
        checks.show(f"{n_users:5} users: intervals that hold the truth", held, nominal=nominal)
    watched = run_watched(
        population,
        population,
        metric="mean_time_per_session",
        n_users=N_USERS,
        n_trials=n_trials,
        seed=15,
        arrive=True,
    )
    checks.show("anytime-valid interval, ever without zero, from 100 users",
                rate([w.anytime for w in watched]), nominal=ALPHA, at_most=True)  # fmt: skip


def check_families(population: Population, n_trials: int, checks: Checks) -> None:
    """Three treatments, three metrics, no effect: is anything found?"""
    print(f"\nThree treatments, three metrics, no effect: any finding, {n_trials} experiments")
    found = run_families(population, n_treatments=3, n_users=300, n_trials=n_trials, seed=16)
    for name, hits in found.items():
        nominal = None if name == "unadjusted" else ALPHA
        checks.show(name, hits, nominal=nominal, at_most=True)


def main() -> Iterator[str]:
    """Run everything; yield what is wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=2000)
    n_trials = parser.parse_args().trials
    control, treated, heavy = make_populations()
    print(f"{len(control):,} listeners; seeds fixed; every rate ± its Monte Carlo standard error")
    checks = Checks()
    check_no_effect(control, n_trials, checks)
    check_effect(control, treated, n_trials, checks)
    check_watching(control, treated, n_trials, checks)
    check_tails(heavy, n_trials, checks)
    check_families(control, n_trials, checks)
    yield from checks.failed


if __name__ == "__main__":
    wrong = list(main())
    print(f"\n{'All as theory says.' if not wrong else 'Not as theory says: ' + ', '.join(wrong)}")
    sys.exit(bool(wrong))
