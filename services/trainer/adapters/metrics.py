"""What the trainer tells Prometheus."""

import time
from collections.abc import Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from shared.artifacts import ModelManifest

DURATIONS_S = (1, 5, 10, 20, 30, 60, 120, 300, 900, 1800, 3600)


class Metrics:
    """The trainer's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register them all."""
        self.registry = CollectorRegistry()
        self._jobs = Counter(
            "segue_trainer_jobs", "Trainings that ended", ["status"], registry=self.registry
        )
        for status in ("succeeded", "failed", "interrupted", "cancelled"):
            self._jobs.labels(status)
        self._duration = Histogram(
            "segue_trainer_training_seconds",
            "From the start of a training to its end",
            ["status"],
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self._loss = Gauge(
            "segue_trainer_loss",
            "Mean squared error of the last epoch",
            ["part"],
            registry=self.registry,
        )
        self._memory = Gauge(
            "segue_trainer_peak_memory_bytes",
            "Most memory held by the last training process",
            registry=self.registry,
        )
        self._age = Gauge(
            "segue_trainer_model_age_seconds",
            "Since the active model version was made; -1 without one",
            registry=self.registry,
        )
        self._age.set(-1)

    def observe_job(self, status: str, *, duration_s: float) -> None:
        """Count a training that ended."""
        self._jobs.labels(status).inc()
        self._duration.labels(status).observe(duration_s)

    def observe_progress(self, fields: Mapping[str, Any]) -> None:
        """Note what a training says of itself."""
        for part in ("train", "validation"):
            if part in fields:
                self._loss.labels(part).set(fields[part])
        if "peak_memory_bytes" in fields:
            self._memory.set(fields["peak_memory_bytes"])

    def observe_active(self, manifest: ModelManifest | None) -> None:
        """Note which model version serves."""
        self._age.set(-1 if manifest is None else time.time() - manifest.created_at.timestamp())
