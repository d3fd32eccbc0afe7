"""docs/metrics.md against what the services expose."""

import re
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import Metric

from services.logger.adapters.metrics import Metrics as LoggerMetrics
from services.recommender.adapters.metrics import Metrics as RecommenderMetrics
from services.recommender.core.decisions import Clock
from services.trainer.adapters.metrics import Metrics as TrainerMetrics
from shared.metrics import RequestDurations, show_build

PAGE = Path(__file__).parents[2] / "docs/metrics.md"
ROW = re.compile(r"^\| `(segue_\w+)` \| (\w+) \|", re.MULTILINE)


def collect() -> list[Metric]:
    """Return the metrics of every service; those with labels have no samples yet."""
    common = CollectorRegistry()
    RequestDurations(common)
    show_build(common, service="test")
    registries = (
        common,
        LoggerMetrics().registry,
        RecommenderMetrics("SERVING", Clock()).registry,
        TrainerMetrics().registry,
    )
    return [metric for registry in registries for metric in registry.collect()]


def full_name(metric: Metric) -> str:
    return f"{metric.name}_total" if metric.type == "counter" else metric.name


def test_the_page_names_every_metric_and_no_other_each_with_its_type() -> None:
    documented = dict(ROW.findall(PAGE.read_text()))
    exposed = {full_name(metric): metric.type for metric in collect()}
    assert documented == exposed


def test_names_follow_prometheus_conventions() -> None:
    for metric in collect():
        name = full_name(metric)
        assert re.fullmatch(r"segue_[a-z]+(_[a-z]+)*", name)
        assert not re.search(r"_(ms|millis|kb|mb|minutes|hours)(_|$)", name)
        assert metric.documentation
        assert (metric.type == "counter") == name.endswith("_total")
