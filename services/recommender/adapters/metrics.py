"""The recommender's metrics."""

import os
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from services.recommender.core.decisions import Clock
from shared.events import Event
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
        self._duration = Histogram(
            "segue_request_duration_seconds",
            "Time to answer, by route and status.",
            ("method", "route", "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
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
            "segue_fallbacks", "Recommenders that could not answer.", ("reason",), registry=registry
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
        self._decisions = Histogram(
            "segue_decision_seconds",
            "Time to decide, by the serving experiment's treatment.",
            arm,
            buckets=_BUCKETS,
            registry=registry,
        )
        # A labelled child is found by a lock and a hash of all labels: once per combination.
        self._durations: dict[tuple[str, str, int], Histogram] = {}
        self._arms: dict[tuple[str, str], tuple[Counter, Counter, Counter]] = {}
        self._exposed: dict[tuple[str, str, str], tuple[Counter, Histogram]] = {}

    def observe_request(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Record how long an answer took; a route is a template: ids must not become labels."""
        child = self._durations.get((method, route, status))
        if child is None:
            child = self._duration.labels(method, route, status)
            self._durations[method, route, status] = child
        child.observe(duration_s)

    def count(self, event: Event) -> None:
        """Count a committed event for every running experiment."""
        arms = event.experiments
        for name, treatment in arms.items():
            arm = self._arms.get((name, treatment))
            if arm is None:
                metrics = (self._listened, self._playbacks, self._sessions)
                listened, playbacks, sessions = (m.labels(name, treatment) for m in metrics)
                arm = self._arms[name, treatment] = listened, playbacks, sessions
            arm[0].inc(event.time)
            arm[1].inc()
            if event.message == "last":
                arm[2].inc()
        if event.recommender is not None:
            served = next(
                ((name, arms[name]) for name in self._serving if name in arms),
                (self._serving[0], "default"),
            )
            self._count_exposure(served, event.recommender, event.latency or 0.0)
        for reason in event.fallback.split(",") if event.fallback else ():
            self._fallbacks.labels(reason).inc()

    def _count_exposure(self, arm: tuple[str, str], recommender: str, latency_s: float) -> None:
        found = self._exposed.get((*arm, recommender))
        if found is None:
            exposures = self._exposures.labels(*arm, recommender)
            found = exposures, self._decisions.labels(*arm)
            self._exposed[*arm, recommender] = found
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

    def show_spooled(self, n_commits: int) -> None:
        """Show how many commits wait for Redis."""
        self._spooled.set(n_commits)

    def count_refused(self, reason: str) -> None:
        """Count a model version that must not serve."""
        self._refused.labels(reason).inc()


class RequestMetrics:
    """ASGI middleware that times every request but reports, which time themselves."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: Mapping[Any, str]) -> None:
        """Wrap the application; `paths` gives the route's template per endpoint."""
        self._app = app
        self._paths = paths
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Time one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = self._metrics.seconds()
        status = 500

        async def watch(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, watch)
        finally:
            route = self._paths.get(scope.get("endpoint"), "unmatched")
            elapsed = self._metrics.seconds() - started
            self._metrics.observe_request(scope["method"], route, status, elapsed)
