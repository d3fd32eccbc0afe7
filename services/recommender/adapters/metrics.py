"""The recommender's metrics."""

import os
from collections.abc import Iterable, Mapping
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge

from services.recommender.adapters.tallies import (
    BulkHistogram,
    HistogramTally,
    TalliedDurations,
    Tallies,
    Tally,
)
from services.recommender.core.decisions import Clock
from shared.events import Event
from shared.experiments import Experiment
from shared.metrics import FOLDER_VARIABLE

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self, serving: tuple[str, ...], clock: Clock) -> None:
        """Register them; `serving` names the experiments whose treatments recommend."""
        self.registry = registry = CollectorRegistry()
        self._serving = serving
        self._shown: str | None = None
        arm = ("experiment", "treatment")
        self.seconds = clock.seconds
        self.tallies = Tallies()
        self.requests = TalliedDurations(registry, self.tallies)
        self._listened = Counter(
            "segue_listened_time",
            "Sum of listened fractions; over segue_sessions_total: mean time per session.",
            arm,
            registry=registry,
        )
        self._playbacks = Counter(
            "segue_playbacks",
            "Playbacks; over segue_sessions_total: mean tracks per session.",
            arm,
            registry=registry,
        )
        self._opened = Counter(
            "segue_sessions_opened", "Sessions that a first report opened.", arm, registry=registry
        )
        self._sessions = Counter(
            "segue_sessions", "Sessions that the listener closed.", arm, registry=registry
        )
        self._exposures = Counter(
            "segue_exposures",
            "Recommendations served, by the serving experiment's treatment.",
            (*arm, "recommender"),
            registry=registry,
        )
        self._fallbacks = Counter(
            "segue_fallbacks",
            "Recommenders that could not answer, by the serving experiment's treatment.",
            (*arm, "reason"),
            registry=registry,
        )
        self._shares = Gauge(
            "segue_treatment_share",
            "Share of an experiment's listeners that the treatment is due.",
            arm,
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._model_info = Gauge(
            "segue_model_info",
            "1 for the model version that serves.",
            ("model_version",),
            registry=registry,
            multiprocess_mode="livemax",
        )
        self._model_created = Gauge(
            "segue_model_created_timestamp_seconds",
            "When the serving version was made; time() minus it is its age.",
            registry=registry,
            multiprocess_mode="livemostrecent",
        )
        self._refused = Counter(
            "segue_models_refused", "Model versions refused.", ("reason",), registry=registry
        )
        self._spooled = Gauge(
            "segue_spooled_commits",
            "Sessions' steps that wait for Redis.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._spool_bytes = Gauge(
            "segue_spool_bytes",
            "Size of these on disk.",
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._decisions = BulkHistogram(
            "segue_decision_seconds",
            "Time to decide, by the serving experiment's treatment.",
            arm,
            buckets=_BUCKETS,
            registry=registry,
        )
        # A labelled child is found by a lock and a hash of all labels: once per combination.
        self._arms: dict[tuple[str, str], tuple[Tally, Tally, Tally, Tally]] = {}
        self._exposed: dict[tuple[str, str, str], tuple[Tally, HistogramTally]] = {}
        self._fallen_back: dict[tuple[str, str, str], Tally] = {}

    def count(self, event: Event) -> None:
        """Count a committed event for every running experiment."""
        for arm in event.experiments.items():
            listened, playbacks, opened, sessions = self._arms.get(arm) or self._find_arm(arm)
            listened.amount += event.time
            playbacks.amount += 1
            if event.position == 0:
                opened.amount += 1
            if event.message == "last":
                sessions.amount += 1
        served = self._find_served(event.experiments)
        if event.recommender is not None:
            key = *served, event.recommender
            exposures, decisions = self._exposed.get(key) or self._find_exposed(key)
            exposures.amount += 1
            decisions.observe(event.latency)
        for reason in event.fallback.split(",") if event.fallback else ():
            self._find_fallback(*served, reason).amount += 1

    def _find_arm(self, arm: tuple[str, str]) -> tuple[Tally, Tally, Tally, Tally]:
        metrics = (self._listened, self._playbacks, self._opened, self._sessions)
        listened, playbacks, opened, sessions = (
            self.tallies.of_counter(metric.labels(*arm)) for metric in metrics
        )
        self._arms[arm] = listened, playbacks, opened, sessions
        return listened, playbacks, opened, sessions

    def _find_served(self, arms: Mapping[str, str]) -> tuple[str, str]:
        """Return experiment and treatment that served."""
        for name in self._serving:
            if name in arms:
                return name, arms[name]
        return self._serving[0], "default"

    def _find_exposed(self, key: tuple[str, str, str]) -> tuple[Tally, HistogramTally]:
        experiment, treatment, recommender = key
        exposures = self._exposures.labels(experiment, treatment, recommender)
        decisions = self._decisions.labels(experiment, treatment)
        found = self.tallies.of_counter(exposures), self.tallies.of_histogram(decisions)
        self._exposed[key] = found
        return found

    def _find_fallback(self, experiment: str, treatment: str, reason: str) -> Tally:
        key = experiment, treatment, reason
        tally = self._fallen_back.get(key)
        if tally is None:
            fallbacks = self._fallbacks.labels(*key)
            tally = self._fallen_back[key] = self.tallies.of_counter(fallbacks)
        return tally

    def show_shares(self, experiments: Iterable[Experiment]) -> None:
        """Show what each arm is due, so that what it gets can be compared with it."""
        for experiment in experiments:
            total = sum(treatment.weight for treatment in experiment.treatments)
            for treatment in experiment.treatments:
                self._shares.labels(experiment.name, treatment.name).set(treatment.weight / total)

    def show_model(self, version: str, created_at: datetime) -> None:
        """Show which version serves from now on."""
        if self._shown is not None:
            self._model_info.labels(self._shown).set(0)
        if FOLDER_VARIABLE not in os.environ:  # what workers share keeps its labels
            self._model_info.clear()
        self._shown = version
        self._model_info.labels(version).set(1)
        self._model_created.set(created_at.timestamp())

    def show_spooled(self, n_commits: int, n_bytes: int) -> None:
        """Show what waits for Redis."""
        self._spooled.set(n_commits)
        self._spool_bytes.set(n_bytes)

    def count_refused(self, reason: str) -> None:
        """Count a model version that must not serve."""
        self._refused.labels(reason).inc()
