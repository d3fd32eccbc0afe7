import json
import re
from pathlib import Path

import pytest

from analysis.core.comparison import compare
from tests.unit.dashboard.factories import (
    EXPERIMENTS,
    HTML,
    METRIC,
    Dashboard,
    make_measurements,
    serving,
)


async def test_the_list_shows_state_users_and_decision(dashboard: Dashboard) -> None:
    page = await dashboard.page("/experiments")
    assert page.index("SERVING") < page.index(">AA<")
    assert "Ship T1" in page
    assert "better in time per session" in page
    assert "500 <small>users" in page
    assert "No data yet: no event names it." in page  # AA


async def test_an_experiment_that_is_no_longer_defined_is_over(dashboard: Dashboard) -> None:
    dashboard.results.measurements["OLD"] = make_measurements("OLD")
    assert "state-over" in await dashboard.page("/experiments/OLD")
    (old,) = [
        e for e in (await dashboard.client.get("/api/experiments")).json() if e["name"] == "OLD"
    ]
    assert (old["state"], old["coverage"]) == ("over", None)


async def test_an_experiment_is_scheduled_before_its_start_and_ended_from_its_end(
    tmp_path: Path,
) -> None:
    windows = (
        EXPERIMENTS
        + """
  - name: SOON
    start: 2026-03-10T12:00:01Z
    treatments: [{name: C}, {name: T1}]
  - name: PAST
    layer: MAIN
    traffic: [0.25, 0.5]
    end: 2026-03-10T13:00:00+01:00
    treatments: [{name: C}, {name: T1}]
"""
    )
    async with serving(tmp_path, experiments=windows) as dashboard:
        listed = (await dashboard.client.get("/api/experiments")).json()
        page = await dashboard.page("/experiments")
    states = {each["name"]: (each["state"], each["start"], each["end"]) for each in listed}
    assert states == {
        "SERVING": ("serving", None, None),
        "AA": ("logged", None, None),
        "SOON": ("scheduled", "2026-03-10T12:00:01Z", None),
        "PAST": ("ended", None, "2026-03-10T13:00:00+01:00"),
    }
    assert page.count("state-scheduled") == page.count("state-ended") == 1
    assert "<dt>Starts</dt><dd>2026-03-10 12:00" in page
    assert "<dt>Ended</dt><dd>2026-03-10 12:00" in page
    assert "<dt>Layer MAIN</dt><dd>25.0% to 50.0%" in page


async def test_the_page_shows_the_numbers_of_the_analysis(dashboard: Dashboard) -> None:
    page = await dashboard.page("/experiments/SERVING")
    (effect,) = [e for e in compare(make_measurements()).effects if e.metric == METRIC]
    (row,) = re.findall(rf'<tr data-treatment="T1" data-metric="{METRIC}".*?</tr>', page, re.DOTALL)
    assert "+100.0%" in row
    assert f"+{effect.lower_pct:.2f}% to +{effect.upper_pct:.1f}%" in row
    assert f"+{effect.anytime_lower_pct:.2f}% to" in row
    assert "2.000" in row
    assert "4.000" in row
    assert 'class="n effect good"' in row


async def test_the_page_has_its_three_charts_for_both_widths(dashboard: Dashboard) -> None:
    page = await dashboard.page("/experiments/SERVING")
    for title in ("Effects in percent", f"Effect on {METRIC} over time", "Sessions over time"):
        assert page.count(f'aria-label="{title}') == 2, title


async def test_the_results_are_json_under_both_addresses(dashboard: Dashboard) -> None:
    answers = [
        await dashboard.client.get(path)
        for path in ("/api/experiments/SERVING/results", "/experiments/SERVING/results")
    ]
    first, second = (answer.json() for answer in answers)
    assert first == second
    assert first["decision"]["action"] == "ship"
    assert first["verdict"]["headline"] == "Ship T1"
    (effect,) = first["effects"]
    assert effect["effect_pct"] == pytest.approx(100)
    assert first["over_time"]["sessions"] == {"C": [500, 500], "T1": [500, 500]}
    last = first["over_time"]["effects"]["T1"][-1]["effect"]
    assert last["anytime_lower_pct"] == pytest.approx(effect["anytime_lower_pct"])


async def test_the_list_is_json_to_a_program_and_a_page_to_a_browser(dashboard: Dashboard) -> None:
    shown = await dashboard.client.get("/experiments", headers={"Accept": "application/json"})
    assert shown.json() == (await dashboard.client.get("/api/experiments")).json()
    assert shown.headers["Vary"] == "Accept"
    page = await dashboard.client.get("/experiments", headers=HTML)
    assert page.headers["Vary"] == "Accept"
    assert page.text.startswith("<!doctype html>")


async def test_an_unknown_experiment_is_404_for_both(dashboard: Dashboard) -> None:
    answer = await dashboard.client.get("/api/experiments/NOPE/results")
    assert answer.status_code == 404
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "there are: SERVING, AA" in answer.json()["detail"]
    assert "No experiment is called NOPE" in await dashboard.page("/experiments/NOPE", status=404)


@pytest.mark.parametrize("name", ["a b", "%3Cscript%3E", "x" * 101])
async def test_a_name_that_no_experiment_can_have_is_refused(
    dashboard: Dashboard, name: str
) -> None:
    page = await dashboard.page(f"/experiments/{name}", status=422)
    assert "<script>" not in page


async def test_an_experiment_without_events_says_so(dashboard: Dashboard) -> None:
    answer = await dashboard.client.get("/api/experiments/AA/results")
    assert answer.status_code == 409
    assert "no event names it yet" in answer.json()["detail"]
    assert "no event names it yet" in await dashboard.page("/experiments/AA")


async def test_an_experiment_whose_users_all_saw_two_arms_says_so(dashboard: Dashboard) -> None:
    dashboard.results.measurements["AA"] = make_measurements("AA", n_users={}, conflicts=3)
    assert "every user was seen under two" in await dashboard.page("/experiments/AA")


async def test_an_experiment_without_a_control_says_so(dashboard: Dashboard) -> None:
    dashboard.results.measurements["AA"] = make_measurements("AA", n_users={"T1": 4})
    assert "AA has no users in C" in await dashboard.page("/experiments/AA")


@pytest.mark.parametrize("n_users", [{"C": 5}, {"C": 1, "T1": 1}, {"C": 300, "T1": 1}])
async def test_too_little_data_never_shows_as_a_number(
    dashboard: Dashboard, n_users: dict[str, int]
) -> None:
    dashboard.results.measurements["SERVING"] = make_measurements(n_users=n_users)
    page = await dashboard.page("/experiments/SERVING")
    assert not re.search(r"\b(nan|inf|None)\b", re.sub(r"<svg.*?</svg>", "", page, flags=re.DOTALL))
    answer = await dashboard.client.get("/api/experiments/SERVING/results")
    json.loads(answer.text, parse_constant=lambda constant: pytest.fail(constant))


async def test_a_broken_split_is_an_alarm(dashboard: Dashboard) -> None:
    dashboard.results.measurements["SERVING"] = make_measurements(n_users={"C": 900, "T1": 500})
    assert "Broken split" in await dashboard.page("/experiments")
    page = await dashboard.page("/experiments/SERVING")
    assert "Sample ratio mismatch." in page
    assert 'role="alert"' in page


async def test_an_absent_database_is_a_state_of_the_page(dashboard: Dashboard) -> None:
    dashboard.results.fault = "no Postgres: connection refused"
    page = await dashboard.page("/experiments")
    assert "No numbers." in page
    assert "connection refused" in page
    assert "SERVING" in page  # what is defined is known without it
    assert "connection refused" in await dashboard.page("/experiments/SERVING", status=503)
    answer = await dashboard.client.get("/api/experiments/SERVING/results")
    assert answer.status_code == 503
    assert answer.json()["title"] == "Database unavailable"


async def test_what_is_known_stays_when_the_database_leaves(dashboard: Dashboard) -> None:
    await dashboard.page("/experiments/SERVING")
    dashboard.results.fault = "Postgres failed: gone"
    dashboard.clock[0] = 600.0
    page = await dashboard.page("/experiments/SERVING")
    assert "Not up to date." in page
    assert "10 min old: Postgres failed: gone" in page
    assert "+100.0%" in page


async def test_results_are_computed_once_while_they_are_fresh(dashboard: Dashboard) -> None:
    for _ in range(3):
        await dashboard.page("/experiments/SERVING")
    assert dashboard.results.n_calls == 1
    dashboard.clock[0] = 5.1
    await dashboard.page("/experiments/SERVING")
    assert dashboard.results.n_calls == 2


async def test_readiness_names_the_database(dashboard: Dashboard) -> None:
    assert (await dashboard.client.get("/health/ready")).json()["parts"] == {"postgres": "ok"}
    dashboard.results.fault = "away"
    answer = await dashboard.client.get("/health/ready")
    assert answer.status_code == 503
    assert answer.json()["parts"] == {"postgres": "down: away"}


async def test_another_name_of_the_host_is_refused(dashboard: Dashboard) -> None:
    answer = await dashboard.client.get("/experiments", headers={"Host": "evil.example"})
    assert answer.status_code == 400


@pytest.mark.parametrize("path", ["/health/live", "/health/ready", "/metrics"])
async def test_whoever_looks_after_it_comes_by_address(dashboard: Dashboard, path: str) -> None:
    answer = await dashboard.client.get(path, headers={"Host": "10.1.2.3:5004"})
    assert answer.status_code == 200


async def test_pages_allow_nothing_from_elsewhere(dashboard: Dashboard) -> None:
    answer = await dashboard.client.get("/experiments/SERVING", headers=HTML)
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"]
    assert not re.findall(r'(?:src|href)="(?!/|#)', answer.text)
    assert not re.findall(r"<style|<script(?! src)| on\w+=", answer.text)


async def test_openapi_describes_every_address(dashboard: Dashboard) -> None:
    paths = (await dashboard.client.get("/openapi.json")).json()["paths"]
    assert {
        "/api/experiments",
        "/api/experiments/{name}/results",
        "/experiments/{name}/results",
        "/experiments/{name}",
        "/models/{version}/activate",
        "/rollback",
        "/live",
        "/listen/{token}",
        "/health/ready",
    } <= set(paths)
    assert set(paths["/api/experiments/{name}/results"]["get"]["responses"]) >= {
        "404",
        "409",
        "503",
    }
