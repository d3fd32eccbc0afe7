import xml.etree.ElementTree as ET

import pytest

from analysis.core.comparison import Comparison, Measurements, compare
from analysis.core.metrics import METRICS
from analysis.core.moments import MetricAggregate
from analysis.forest import draw_forest
from analysis.page import make_page
from tests.unit.analysis.test_report import make_arm


def make_comparison(name: str = "MUSIC", **means: float) -> Comparison:
    arms = [make_arm(treatment) for treatment in ("C", *means)]
    metrics = {
        (arm.treatment, metric.name): MetricAggregate(1000, means.get(arm.treatment, 10.0), 4.0)
        for arm in arms
        for metric in METRICS
    }
    return compare(Measurements(experiment=name, arms=arms, metrics=metrics))


def texts(comparison: Comparison) -> list[str]:
    root = ET.fromstring(draw_forest(comparison, image_format="svg"))  # noqa: S314 - our own
    return ["".join(node.itertext()).strip() for node in root.iter() if node.tag.endswith("}text")]


def test_the_picture_names_every_treatment_and_metric() -> None:
    shown = texts(make_comparison(T1=11.0, T2=9.0))
    assert {"MUSIC", "T1", "T2", "better", "at every look"} <= set(shown)
    assert {metric.name.replace("_", " ") for metric in METRICS} <= set(shown)


def test_an_effect_without_interval_shows_why() -> None:
    assert "the treatment mean is 0: no interval of the ratio" in texts(make_comparison(T1=0.0))


@pytest.mark.parametrize("means", [{}, {"T1": 1e9}, {"T1": 1e-9, "T2": 10.0}])
def test_there_is_a_picture_whatever_the_numbers(means: dict[str, float]) -> None:
    comparison = make_comparison(**means)
    assert draw_forest(comparison, image_format="png").startswith(b"\x89PNG")


def test_the_same_comparison_is_the_same_picture() -> None:
    comparison = make_comparison(T1=11.0)
    first, second = (draw_forest(comparison, image_format="svg") for _ in range(2))
    assert first == second


def test_a_page_shows_the_decision_and_the_table() -> None:
    page = make_page(make_comparison(T1=12.0))
    assert "Stop</strong>" not in page
    assert "<strong>Ship T1</strong>" in page
    assert page.count("<tr class=") == len(METRICS)
    assert "nan" not in page.lower().replace("retention", "")


def test_markup_in_a_name_is_only_text() -> None:
    page = make_page(make_comparison("<script>alert(1)</script>", T1=11.0))
    assert "<script" not in page
