import dataclasses
import re
import xml.etree.ElementTree as ET
from datetime import UTC, datetime, timedelta

import pytest

from analysis.core.activity import Minute
from analysis.core.effects import Effect
from analysis.core.timeline import EffectAt
from services.dashboard.charts.curves import draw_effects, draw_losses, draw_sessions
from services.dashboard.charts.forest import draw_forest
from services.dashboard.charts.minutes import draw_minutes
from services.dashboard.charts.theme import NARROW, WIDE, Size

START = datetime(2026, 3, 10, tzinfo=UTC)
TIMES = tuple(START + timedelta(hours=n) for n in range(4))


def make_effect(metric: str = "time", *, treatment: str = "T1", at: int = 1) -> Effect:
    return Effect(
        treatment=treatment,
        metric=metric,
        effect_pct=10.0 * at,
        lower_pct=5.0,
        upper_pct=15.0,
        anytime_lower_pct=1.0,
        anytime_upper_pct=20.0,
        control_mean=1.0,
        treatment_mean=1.1,
        significant=True,
    )


def drawings(size: Size) -> dict[str, str]:
    points = tuple(EffectAt(at, make_effect(at=n)) for n, at in enumerate(TIMES))
    return {
        "forest": draw_forest((make_effect(), make_effect("mean_request_latency")), size),
        "effects": draw_effects((("T1", points), ("T<2>", points)), size, title="a < b"),
        "sessions": draw_sessions(TIMES, (("C", (1, 2, 3, 4)), ("T1", (4, 3, 2, 4))), size),
        "losses": draw_losses((1, 2), (("training", (1.0, 0.5)), ("validation", (2.0, 1.5))), size),
        "minutes": draw_minutes(tuple(Minute(at, 3, 2, 1) for at in TIMES), size),
    }


@pytest.mark.parametrize("size", [WIDE, NARROW], ids=lambda size: size.name)
def test_a_chart_is_one_element_in_the_pages_colours(size: Size) -> None:
    for name, svg in drawings(size).items():
        element = ET.fromstring(svg.replace("xlink:href", "href"))  # noqa: S314 - our own
        assert element.get("class") == f"chart chart-{size.name}"
        assert element.get("aria-label"), name
        assert "var(--" in svg
        assert "<style" not in svg
        assert not [colour for colour in ("#0", "#1", "#f", "font-family") if colour in svg], name


def test_names_are_text_and_are_escaped() -> None:
    svg = drawings(WIDE)["effects"]
    assert ">T&lt;2&gt;</text>" in svg
    assert 'aria-label="a &lt; b"' in svg


def texts(svg: str) -> list[str]:
    return re.findall(r">([^<>]+)</text>", svg)


def test_an_interval_that_goes_too_far_is_cut_with_an_arrow() -> None:
    near = make_effect("mean_time_per_session")
    far = dataclasses.replace(make_effect("skip_rate"), lower_pct=-99.9, upper_pct=6e6)
    written = texts(draw_forest((near, far), WIDE))
    assert not [text for text in written if "e+" in text or len(text) > 30]
    plain = draw_forest((near, make_effect("skip_rate")), WIDE)
    assert draw_forest((near, far), WIDE).count("<use") == plain.count("<use") + 2


def test_large_changes_are_drawn_by_their_ratio() -> None:
    large = dataclasses.replace(make_effect(), effect_pct=300.0, lower_pct=100.0, upper_pct=700.0)
    assert {"0", "+100%", "+400%"} <= set(texts(draw_forest((large,), WIDE)))


def test_treatments_stand_together_by_metric() -> None:
    effects = tuple(
        make_effect(metric, treatment=treatment)
        for treatment in ("T1", "T2")
        for metric in ("time", "skip_rate")
    )
    written = [text for text in texts(draw_forest(effects, WIDE)) if text.endswith(("T1", "T2"))]
    assert [text.split() for text in written] == [
        ["Time", "T1"],
        ["T2"],
        ["Skip", "rate", "T1"],
        ["T2"],
    ]


def test_an_effect_without_an_interval_is_not_drawn() -> None:
    bare = Effect(treatment="T1", metric="time")
    assert draw_forest((bare,), WIDE) == ""
    assert draw_effects((("T1", (EffectAt(START, bare),) * 3),), WIDE, title="t") == ""


def test_minutes_without_requests_can_be_drawn() -> None:
    assert "<svg" in draw_minutes(tuple(Minute(at, 0, 0, 0) for at in TIMES), WIDE)


def test_names_at_the_same_place_stand_apart() -> None:
    svg = draw_losses((1, 2), (("one", (1.0, 1.0)), ("two", (2.0, 1.0))), WIDE)
    places = [
        float(line.split('y="')[1].split('"')[0])
        for line in svg.splitlines()
        if ">one<" in line or ">two<" in line
    ]
    assert abs(places[0] - places[1]) >= 15
