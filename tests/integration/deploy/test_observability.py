"""Rules, alerts and dashboards: they ask for what the services expose, and say what they must."""

import itertools
import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from fastapi import FastAPI

from deploy.commands import ROOT
from deploy.local.settings import SERVICES
from services.dashboard.app import create_app as create_dashboard
from services.dashboard.settings import Settings as DashboardSettings
from services.logger.app import create_app as create_logger
from services.logger.settings import Settings as LoggerSettings
from services.recommender.app import create_app as create_recommender
from services.trainer.app import create_app as create_trainer
from services.trainer.settings import Settings as TrainerSettings
from tests.unit.recommender.factories import make_settings

FOLDER = ROOT / "deploy" / "observability"
RULES = sorted((FOLDER / "rules").glob("*.yml"))
TESTS = sorted((FOLDER / "tests").glob("*.yml"))
# Debian builds promtool without the discovery of a cluster's pods.
CONFIGURATIONS = [FOLDER / "prometheus.yml", FOLDER / "prometheus.local.yml"]
DASHBOARDS = sorted((FOLDER / "grafana" / "dashboards").glob("*.json"))
PROVISIONING = FOLDER / "grafana" / "provisioning"
PROMTOOL = shutil.which("promtool")

NAME = re.compile(r"\b(?:[a-z_]+:)?(?:segue|process)_[a-z0-9_]+(?::[a-z0-9_]+)?\b")
SERIES = re.compile(r"^(\w+)(?:\{(.*)\})?$")
PROMETHEUS_LABELS = {"job", "instance"}
SUFFIXES = {"counter": ("",), "gauge": ("",), "histogram": ("_bucket", "_sum", "_count")}

needs_promtool = pytest.mark.skipif(
    PROMTOOL is None, reason="promtool is not here: `make promtool` installs it"
)


def run_promtool(*arguments: str | Path) -> None:
    result = subprocess.run(
        [str(PROMTOOL), *arguments], capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stdout + result.stderr


def read_yaml(path: Path) -> Any:
    return yaml.safe_load(path.read_text())


def read_rules() -> list[dict[str, Any]]:
    return [
        rule for path in RULES for group in read_yaml(path)["groups"] for rule in group["rules"]
    ]


def read_panels(path: Path) -> list[dict[str, Any]]:
    panels: list[dict[str, Any]] = json.loads(path.read_text())["panels"]
    return panels


def read_queries(path: Path) -> list[str]:
    return [target["expr"] for panel in read_panels(path) for target in panel.get("targets", [])]


@pytest.fixture
async def exposed(tmp_path: Path) -> set[str]:
    """Return the names of all series that the services' `/metrics` speak of."""
    apps: list[FastAPI] = [
        create_recommender(make_settings(tmp_path)),
        create_logger(LoggerSettings()),
        create_trainer(TrainerSettings()),
        create_dashboard(DashboardSettings(experiments=ROOT / "deploy" / "experiments.yaml")),
    ]
    names = set()
    for app in apps:
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            text = (await client.get("/metrics")).text
        for name, kind in re.findall(r"^# TYPE (\w+) (\w+)$", text, re.MULTILINE):
            names |= {name + suffix for suffix in SUFFIXES[kind]}
    return names


def recorded() -> set[str]:
    return {rule["record"] for rule in read_rules() if "record" in rule}


def asked() -> Iterator[tuple[str, str]]:
    """Yield every name that is asked for, and where."""
    queries = [(rule.get("record") or rule["alert"], rule["expr"]) for rule in read_rules()]
    queries += [(path.name, query) for path in DASHBOARDS for query in read_queries(path)]
    for where, query in queries:
        for name in NAME.findall(query):
            yield name, where


async def test_every_metric_that_is_asked_for_is_exposed(exposed: set[str]) -> None:
    names = list(asked())
    assert len(names) > 100
    unknown = {(name, where) for name, where in names if name not in exposed | recorded()}
    assert unknown == set()


async def test_the_series_of_the_rules_tests_are_the_services(exposed: set[str]) -> None:
    series = [
        each["series"]
        for path in TESTS
        for test in read_yaml(path)["tests"]
        for each in test["input_series"]
    ]
    names = {SERIES.fullmatch(each)[1] for each in series}  # type: ignore[index]
    assert names - {"up"} <= exposed


def test_every_rule_and_every_alert_is_tested() -> None:
    text = "\n".join(path.read_text() for path in TESTS)
    for rule in read_rules():
        if "record" in rule:
            assert re.search(rf"expr: .*\b{rule['record']}\b", text), rule["record"]
            continue
        cases = [
            case
            for path in TESTS
            for test in read_yaml(path)["tests"]
            for case in test.get("alert_rule_test", [])
            if case["alertname"] == rule["alert"]
        ]
        assert any(case["exp_alerts"] for case in cases), rule["alert"]


def test_every_alert_says_how_urgent_it_is_and_is_explained() -> None:
    page = (ROOT / "docs" / "monitoring.md").read_text()
    for rule in read_rules():
        if "alert" in rule:
            assert rule["labels"]["severity"] in {"page", "ticket"}, rule["alert"]
            assert rule["annotations"]["summary"], rule["alert"]
            assert f"`{rule['alert']}`" in page


@needs_promtool
@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_prometheus_can_be_configured(path: Path) -> None:
    run_promtool("check", "config", path)


@needs_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.stem)
def test_rules_say_what_they_must(path: Path) -> None:
    run_promtool("test", "rules", path)


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_prometheus_asks_every_service(path: Path) -> None:
    jobs = {job["job_name"]: job for job in read_yaml(path)["scrape_configs"]}
    for name, port in SERVICES.items():
        assert str(port) in json.dumps(jobs[name])


def test_in_a_cluster_a_pod_is_the_job_of_its_workload() -> None:
    (job,) = read_yaml(FOLDER / "prometheus.kubernetes.yml")["scrape_configs"]
    made = {
        rule["target_label"]: rule["source_labels"]
        for rule in job["relabel_configs"]
        if "target_label" in rule
    }
    assert made["job"] == ["__meta_kubernetes_pod_label_app_kubernetes_io_name"]
    assert {"namespace", "pod", "__address__"} <= set(made)
    (discovery,) = job["kubernetes_sd_configs"]
    base = read_yaml(ROOT / "deploy" / "kubernetes" / "base" / "kustomization.yaml")
    assert discovery["namespaces"]["names"] == [base["namespace"]]


@needs_promtool
def test_every_query_of_a_dashboard_can_be_parsed(tmp_path: Path) -> None:
    rules = [
        {"record": f"q:{i}", "expr": re.sub(r"\$__\w+", "1m", query).replace("$", "")}
        for i, query in enumerate(query for path in DASHBOARDS for query in read_queries(path))
    ]
    (tmp_path / "rules.yml").write_text(
        yaml.safe_dump({"groups": [{"name": "queries", "rules": rules}]})
    )
    run_promtool("check", "rules", tmp_path / "rules.yml")


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboard_asks_the_source_that_is_provisioned(path: Path) -> None:
    (source,) = read_yaml(PROVISIONING / "datasources" / "prometheus.yml")["datasources"]
    panels = [panel for panel in read_panels(path) if panel["type"] != "row"]
    assert panels
    for panel in panels:
        for place in (panel, *panel["targets"]):
            assert place["datasource"] == {"type": source["type"], "uid": source["uid"]}


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_a_dashboards_variables_are_its_own(path: Path) -> None:
    known = {each["name"] for each in json.loads(path.read_text())["templating"]["list"]}
    used = {name for query in read_queries(path) for name in re.findall(r"\$(\w+)", query)}
    assert {name for name in used if not name.startswith("__")} == known


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.stem)
def test_panels_have_a_place_and_a_name_of_their_own(path: Path) -> None:
    panels = read_panels(path)
    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    places = [panel["gridPos"] for panel in panels]
    assert all(place["x"] + place["w"] <= 24 for place in places)
    for one, other in itertools.combinations(places, 2):
        is_apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert is_apart, (one, other)


def test_dashboards_are_found_where_they_are_mounted() -> None:
    (provider,) = read_yaml(PROVISIONING / "dashboards" / "segue.yml")["providers"]
    grafana = read_yaml(ROOT / "deploy" / "docker-compose.yml")["services"]["grafana"]
    mounted = dict(volume.split(":")[:2] for volume in grafana["volumes"])
    assert mounted["./observability/grafana/dashboards"] == provider["options"]["path"]
    assert mounted["./observability/grafana/provisioning"] == "/etc/grafana/provisioning"
    home = Path(grafana["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert home.parent == Path(provider["options"]["path"])
    assert (FOLDER / "grafana" / "dashboards" / home.name).exists()
