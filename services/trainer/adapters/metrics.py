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
        self._running = Gauge("segue_trainer_running", "Trainings that run", registry=self.registry)
        self._stages = Histogram(
            "segue_trainer_stage_seconds",
            "What a stage of a training took",
            ["stage"],
            buckets=DURATIONS_S,
            registry=self.registry,
        )
        self._stage: tuple[str, float] | None = None
        self._last_success = Gauge(
            "segue_trainer_last_success_timestamp_seconds",
            "When a training last succeeded; 0 before the first",
            registry=self.registry,
        )
        self._model_info = Gauge(
            "segue_trainer_model_info",
            "1 for the model version that is to serve",
            ["model_version", "recipe"],
            registry=self.registry,
        )
        self._age = Gauge(
            "segue_trainer_model_age_seconds",
            "Since the active model version was made; -1 without one",
            registry=self.registry,
        )
        self._active: ModelManifest | None = None
        self._age.set_function(self._measure_age)

    def observe_start(self) -> None:
        """Note that a training runs."""
        self._running.set(1)

    def observe_end(self, status: str, *, duration_s: float) -> None:
        """Count a training that ended."""
        self._running.set(0)
        self._end_stage()
        self._jobs.labels(status).inc()
        self._duration.labels(status).observe(duration_s)
        if status == "succeeded":
            self._last_success.set_to_current_time()

    def observe_progress(self, stage: str | None, fields: Mapping[str, Any]) -> None:
        """Note what a training says of itself; a stage that is named again goes on."""
        if stage is not None and (self._stage is None or self._stage[0] != stage):
            self._end_stage()
            self._stage = stage, time.monotonic()
        for part in ("train", "validation"):
            if part in fields:
                self._loss.labels(part).set(fields[part])
        if "peak_memory_bytes" in fields:
            self._memory.set(fields["peak_memory_bytes"])

    def observe_active(self, manifest: ModelManifest | None) -> None:
        """Note which model version serves."""
        self._active = manifest
        self._model_info.clear()
        if manifest is not None:
            self._model_info.labels(manifest.model_version, manifest.recipe).set(1)

    def _end_stage(self) -> None:
        if self._stage is not None:
            stage, began = self._stage
            self._stages.labels(stage).observe(time.monotonic() - began)
            self._stage = None

    def _measure_age(self) -> float:
        active = self._active
        return -1 if active is None else time.time() - active.created_at.timestamp()
