"""Many experiments on listeners whose answers are known, analysed by the code that users run."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from analysis.core.adjustment import adjust_benjamini_hochberg, adjust_holm
from analysis.core.decisions import Aggregates, Rule, decide
from analysis.core.effects import Effect, estimate_effect
from analysis.core.moments import adjust_for_history
from analysis.core.sample_ratio import check_sample_ratio
from analysis.core.sequential import estimate_anytime
from analysis.core.welch import analyze
from benchmarks.statistics.population import DAYS, METRICS, Floats, Integers, Population

ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Rate:
    """How often something happened, with its Monte Carlo standard error."""

    n_hits: int
    n_trials: int

    @property
    def share(self) -> float:
        """Of the trials, in [0, 1]."""
        return self.n_hits / self.n_trials

    @property
    def error(self) -> float:
        """Standard error of the share."""
        return float(np.sqrt(self.share * (1 - self.share) / self.n_trials))

    def distance(self, nominal: float) -> float:
        """Return how many standard errors, under the nominal share, it is above it."""
        return (self.share - nominal) / float(np.sqrt(nominal * (1 - nominal) / self.n_trials))

    def __str__(self) -> str:
        return f"{100 * self.share:6.2f}% ± {100 * self.error:.2f}"


def rate(hits: Sequence[bool]) -> Rate:
    """Count."""
    return Rate(sum(hits), len(hits))


def run_fixed(
    control: Population,
    treated: Population,
    *,
    metric: str,
    n_users: int,
    n_trials: int,
    seed: int,
) -> list[Effect]:
    """Analyse experiments once each, at their end, with n_users in each arm."""
    generator = np.random.default_rng(seed)
    effects = []
    for _ in range(n_trials):
        arms = [
            population.aggregate(metric, generator.integers(0, len(population), n_users))
            for population in (control, treated)
        ]
        effects.append(estimate_effect(*arms, treatment="T1", metric=metric, alpha=ALPHA))
    return effects


@dataclasses.dataclass(frozen=True)
class Watched:
    """An experiment that was looked at every day.

    Attributes:
        naive: Whether the fixed-horizon test was ever significant.
        anytime: Whether the anytime-valid interval ever excluded no change.
        missed: Whether it ever excluded the truth.
        action: What the decision rule said at the first look that decided, or at the end.
        day: Of that look, from 1.
    """

    naive: bool
    anytime: bool
    missed: bool
    action: str
    day: int


def run_watched(
    control: Population,
    treated: Population,
    *,
    metric: str,
    n_users: int,
    n_trials: int,
    seed: int,
    arrive: bool = False,
) -> list[Watched]:
    """Look at experiments after every day.

    Args:
        control: Listeners under the control.
        treated: The same under the treatment.
        metric: That decides.
        n_users: In each arm, at the end.
        n_trials: Experiments.
        seed: Of the draws.
        arrive: Whether users come one after the other with all of their sessions, as in the
            theory, rather than most at once, each with a session now and then.
    """
    truth = 100 * (treated.truth(metric) / control.truth(metric) - 1)
    generator = np.random.default_rng(seed)
    rule = Rule(metric=metric, guardrails=())
    watched = []
    for _ in range(n_trials):
        picks = [generator.integers(0, len(p), n_users) for p in (control, treated)]

        def look(day: int, picks: Sequence[Integers] = picks) -> Aggregates:
            n_seen = n_users * (day + 1) // DAYS if arrive else n_users
            shown = DAYS - 1 if arrive else day
            return {
                (name, metric): population.aggregate(metric, users[:n_seen], day=shown)
                for name, population, users in zip(
                    ("C", "T1"), (control, treated), picks, strict=True
                )
            }

        watched.append(_watch(look, metric=metric, truth=truth, rule=rule))
    return watched


def _watch(look: Callable[[int], Aggregates], *, metric: str, truth: float, rule: Rule) -> Watched:
    naive = anytime = missed = False
    action, decided = "continue", DAYS
    for day in range(DAYS):
        aggregates = look(day)
        arms = aggregates["C", metric], aggregates["T1", metric]
        if min(arm.n_users for arm in arms) < rule.min_users:
            continue
        p_value, *_ = analyze(*arms, alpha=ALPHA)
        interval = estimate_anytime(
            *(adjust_for_history(*arms) or arms), alpha=ALPHA, worthwhile_pct=rule.worthwhile_pct
        )
        assert p_value is not None
        assert interval is not None
        naive |= p_value < ALPHA
        anytime |= not interval.lower_pct <= 0 <= interval.upper_pct
        missed |= not interval.lower_pct <= truth <= interval.upper_pct
        if action == "continue":
            users = {"C": arms[0].n_users, "T1": arms[1].n_users}
            decision = decide(
                aggregates,
                ["C", "T1"],
                rule=rule,
                alpha=ALPHA,
                sample_ratio=check_sample_ratio(users),
            )
            action, decided = decision.action, day + 1
    return Watched(naive, anytime, missed, action, decided)


def run_families(
    population: Population, *, n_treatments: int, n_users: int, n_trials: int, seed: int
) -> dict[str, Rate]:
    """Count experiments without any effect in which some test finds one."""
    generator = np.random.default_rng(seed)
    found: dict[str, list[bool]] = {"unadjusted": [], "Holm": [], "Benjamini-Hochberg": []}
    for _ in range(n_trials):
        arms = generator.integers(0, len(population), (n_treatments + 1, n_users))
        p_values = [
            analyze(
                population.aggregate(metric, arms[0]),
                population.aggregate(metric, arm),
                alpha=ALPHA,
            )[0]
            for arm in arms[1:]
            for metric in METRICS
        ]
        adjusted = {
            "unadjusted": p_values,
            "Holm": adjust_holm(p_values),
            "Benjamini-Hochberg": adjust_benjamini_hochberg(p_values),
        }
        for name, values in adjusted.items():
            found[name].append(any(p is not None and p < ALPHA for p in values))
    return {name: rate(hits) for name, hits in found.items()}


def covers(effects: Sequence[Effect], truth: float, *, kind: str = "") -> Rate:
    """Count the intervals that hold the true relative change, in percent."""
    bounds = [
        (getattr(effect, f"{kind}lower_pct"), getattr(effect, f"{kind}upper_pct"))
        for effect in effects
    ]
    return rate([low <= truth <= high for low, high in bounds])


def log_changes(effects: Sequence[Effect], *, kind: str = "") -> Floats:
    """Return the log ratios of the means."""
    return np.log1p(np.array([getattr(e, f"{kind}effect_pct") for e in effects]) / 100)
