import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.adapters.recommender_metrics import parse_metrics
from services.dashboard.core.pulse import compare_counters, find_quantile
from tests.unit.dashboard.factories import METRICS_PAGE, Dashboard


async def test_rates_come_from_two_readings(dashboard: Dashboard) -> None:
    page = await dashboard.page("/live")
    assert "per s" not in page  # one reading has no rate
    dashboard.clock[0] = 10.0
    more = METRICS_PAGE.replace("} 90\n", "} 140\n").replace("} 100\n", "} 150\n")
    dashboard.services.metrics_page = more
    page = await dashboard.page("/live")
    assert "5.0 <small>per s" in page
    assert "0.5 <small>ms, median" in page
    assert "0.0%" in page  # failed


async def test_lag_fallbacks_and_the_model_are_shown(dashboard: Dashboard) -> None:
    page = await dashboard.page("/live")
    assert "5 <small>events" in page
    assert "1 dead letters" in page
    assert "10.0%" in page  # 4 of 40
    assert 'href="/models/v2"' in page
    assert page.count('aria-label="Requests per minute"') == 2


async def test_what_is_away_is_named_and_the_rest_stays(dashboard: Dashboard) -> None:
    dashboard.services.away = {"recommender"}
    dashboard.results.fault = "no Postgres: refused"
    page = await dashboard.page("/live")
    assert "the recommender does not answer" in page
    assert "no Postgres: refused" in page
    assert "is away" in page
    assert "5 <small>events" in page


async def test_no_metrics_page_is_a_fault(dashboard: Dashboard) -> None:
    dashboard.services.metrics_page = "<html>"
    assert "Not everything can be seen" in await dashboard.page("/live")


def test_only_reports_count() -> None:
    counters = parse_metrics(METRICS_PAGE, at_s=1.0)
    assert counters.reports == {200: 100}
    assert counters.buckets == {0.001: 90, 0.01: 100, math.inf: 100}
    assert counters.model_version == "v2"


def test_a_restart_has_no_rates() -> None:
    before = parse_metrics(METRICS_PAGE, at_s=1.0)
    after = parse_metrics(METRICS_PAGE.replace("} 100\n", "} 3\n"), at_s=2.0)
    assert compare_counters(before, after) is None
    assert compare_counters(before, before) is None


def test_failures_are_a_share_of_the_requests() -> None:
    failed = METRICS_PAGE + (
        'segue_request_duration_seconds_count{method="POST",route="/last/{user}",status="503"} 25\n'
    )
    before = parse_metrics("", at_s=0.0)
    rates = compare_counters(before, parse_metrics(failed, at_s=5.0))
    assert rates is not None
    assert rates.requests_per_s == 25.0
    assert rates.failed_share == pytest.approx(0.2)


def test_a_quantile_is_linear_within_its_bucket() -> None:
    buckets = {0.1: 0.0, 0.2: 50.0, 0.4: 100.0, math.inf: 100.0}
    assert find_quantile(buckets, 0.5) == pytest.approx(0.2)
    assert find_quantile(buckets, 0.75) == pytest.approx(0.3)
    assert find_quantile({0.1: 0.0, math.inf: 4.0}, 0.5) == 0.1  # beyond the last bound
    assert find_quantile({}, 0.5) is None


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=8), st.floats(0, 1))
def test_a_quantile_lies_between_the_bounds(counts: list[float], share: float) -> None:
    cumulative = sorted(counts)
    buckets = {float(i + 1): count for i, count in enumerate(cumulative)}
    buckets[math.inf] = cumulative[-1]
    quantile = find_quantile(buckets, share)
    assert quantile is None or 0 <= quantile <= len(counts)
