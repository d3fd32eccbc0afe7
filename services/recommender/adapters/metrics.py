"""The recommender's metrics."""

import os
from datetime import datetime

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.recommender.core.decisions import Clock
from shared.events import Event
from shared.metrics import FOLDER_VARIABLE, RequestDurations

_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)


class Metrics:
    """Counters of one application, in a registry of its own."""

    def __init__(self, serving: str, clock: Clock) -> None:
        """Register them; `serving` names the experiment whose treatment recommends."""
        self.registry = registry = CollectorRegistry()
        self._serving = serving
        self._shown: str | None = None
        arm = ("experiment", "treatment")
        self.seconds = clock.seconds
        self.requests = RequestDurations(registry)
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
        self._decisions = Histogram(
            "segue_decision_seconds",
            "Time to decide, by the serving experiment's treatment.",
            arm,
            buckets=_BUCKETS,
            registry=registry,
        )
        # A labelled child is found by a lock and a hash of all labels: once per combination.
        self._arms: dict[tuple[str, str], tuple[Counter, Counter, Counter, Counter]] = {}
        self._exposed: dict[tuple[str, str], tuple[Counter, Histogram]] = {}

    def count(self, event: Event) -> None:
        """Count a committed event for every running experiment."""
        for name, treatment in event.experiments.items():
            arm = self._arms.get((name, treatment))
            if arm is None:
                arm = self._arms[name, treatment] = (
                    self._listened.labels(name, treatment),
                    self._playbacks.labels(name, treatment),
                    self._opened.labels(name, treatment),
                    self._sessions.labels(name, treatment),
                )
            arm[0].inc(event.time)
            arm[1].inc()
            if event.position == 0:
                arm[2].inc()
            if event.message == "last":
                arm[3].inc()
        treatment = event.experiments.get(self._serving, "default")
        if event.recommender is not None:
            self._count_exposure(treatment, event.recommender, event.latency or 0.0)
        for reason in event.fallback.split(",") if event.fallback else ():
            self._fallbacks.labels(self._serving, treatment, reason).inc()

    def _count_exposure(self, treatment: str, recommender: str, latency_s: float) -> None:
        found = self._exposed.get((treatment, recommender))
        if found is None:
            exposures = self._exposures.labels(self._serving, treatment, recommender)
            found = exposures, self._decisions.labels(self._serving, treatment)
            self._exposed[treatment, recommender] = found
        found[0].inc()
        found[1].observe(latency_s)

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
