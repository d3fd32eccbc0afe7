"""The recommender's metrics page, read."""

from collections import Counter

from prometheus_client.parser import text_string_to_metric_families

from services.dashboard.core.pulse import Counters

_REPORTS = frozenset({"/next/{user}", "/last/{user}"})
_DURATION = "segue_request_duration_seconds"


def parse_metrics(text: str, *, at_s: float) -> Counters:
    """Read the metrics page; what it lacks counts as nothing.

    Raises:
        ValueError: If it is no metrics page.
    """
    reports: Counter[int] = Counter()
    buckets: Counter[float] = Counter()
    version, spooled = None, 0.0
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = sample.labels
            if sample.name == "segue_model_info" and sample.value:
                version = labels["model_version"]
            elif sample.name == "segue_spooled_commits":
                spooled += sample.value
            elif labels.get("route") not in _REPORTS:
                continue
            elif sample.name == f"{_DURATION}_count":
                reports[int(labels["status"])] += int(sample.value)
            elif sample.name == f"{_DURATION}_bucket":
                buckets[float(labels["le"])] += int(sample.value)
    return Counters(
        at_s=at_s, reports=reports, buckets=buckets, model_version=version, spooled=spooled
    )
