"""A service's metrics in Prometheus' text format, of all its workers together."""

import contextlib
import functools
import importlib.metadata
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

from prometheus_client import CollectorRegistry, Gauge, Histogram, ProcessCollector, generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"  # read by prometheus_client when it is imported

_BUCKETS_S = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


H = TypeVar("H", bound=Histogram)


class RequestDurations:
    """How long answers took, by method, route and status: rate, errors and duration in one.

    A route is a template: what a client can make up must not become a label.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        """Register the histogram."""
        self._durations = make_request_histogram(registry, Histogram)
        # A labelled child is found by a lock and a hash of all labels: once per combination.
        self._children: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Record one answer."""
        child = self._children.get((method, route, status))
        if child is None:
            child = self._durations.labels(name_method(method), route, status)
            self._children[method, route, status] = child
        child.observe(duration_s)


def make_request_histogram(registry: CollectorRegistry, kind: type[H]) -> H:
    """Register the histogram of answers."""
    return kind(
        "segue_request_duration_seconds",
        "Time to answer, by route and status.",
        ("method", "route", "status"),
        buckets=_BUCKETS_S,
        registry=registry,
    )


def name_method(method: str) -> str:
    """Return a method as a label: clients can make up any."""
    return method if method in _METHODS else "other"


def show_build(registry: CollectorRegistry, *, service: str) -> None:
    """Show which version of a service runs."""
    Gauge(
        "segue_build_info",
        "1; the version that runs.",
        ("service", "version"),
        registry=registry,
        multiprocess_mode="livemax",
    ).labels(service, importlib.metadata.version("segue")).set(1)


def expose(registry: CollectorRegistry) -> bytes:
    """Render the metrics: this process's, or, where workers share a folder, the sum of theirs."""
    folder = os.environ.get(FOLDER_VARIABLE)
    if folder is None:
        return generate_latest(registry) + _render_processes([])
    workers = _find_workers(Path(folder))
    _forget_dead(Path(folder), workers)
    together = CollectorRegistry()
    MultiProcessCollector(together, path=folder)  # type: ignore[no-untyped-call]
    return generate_latest(together) + _render_processes(sorted(workers))


class _Processes(Collector):
    """Memory and CPU time of processes, as Prometheus' client names them."""

    def __init__(self, pids: list[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        if not self._pids:
            return ProcessCollector(registry=None).collect()
        together: dict[str, Metric] = {}
        for pid in self._pids:
            collector = ProcessCollector(pid=functools.partial(int, pid), registry=None)
            for metric in collector.collect():
                whole = together.setdefault(metric.name, metric)
                labelled = [each._replace(labels={"pid": str(pid)}) for each in metric.samples]
                whole.samples = labelled if whole is metric else whole.samples + labelled
        return together.values()


def _render_processes(pids: list[int]) -> bytes:
    registry = CollectorRegistry()
    registry.register(_Processes(pids))
    return generate_latest(registry)


def _find_workers(folder: Path) -> set[int]:
    pids = {int(path.stem.rpartition("_")[2]) for path in folder.glob("*.db")}
    return {pid for pid in pids if _is_alive(pid)}


def _forget_dead(folder: Path, workers: set[int]) -> None:
    """Drop what dead workers said of the moment; what they counted stays counted."""
    for path in folder.glob("gauge_live*.db"):
        pid = int(path.stem.rpartition("_")[2])
        if pid not in workers:
            with contextlib.suppress(FileNotFoundError):
                mark_process_dead(pid, path=str(folder))  # type: ignore[no-untyped-call]


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
