import io
import json
import re
from datetime import UTC, datetime

import pytest

from analysis import report
from analysis.core.comparison import (
    Arm,
    Comparison,
    Measurements,
    UnknownTreatmentError,
    compare,
    sort_treatments,
)
from analysis.core.metrics import METRICS
from analysis.core.moments import MetricAggregate
from analysis.notes import notes

AT = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def make_arm(treatment: str, n_users: int = 1000, n_finished: int = 2000) -> Arm:
    return Arm(
        treatment=treatment,
        n_users=n_users,
        n_sessions=2000,
        n_finished=n_finished,
        n_events=12_345_678,
        first_at=AT,
        last_at=AT,
    )


def make_comparison(*arms: Arm, **means: float) -> Comparison:
    arms = arms or tuple(make_arm(name) for name in ("C", *means))
    metrics = {
        (arm.treatment, metric.name): MetricAggregate(
            arm.n_users, means.get(arm.treatment, 10.0), 4.0
        )
        for arm in arms
        for metric in METRICS
    }
    return compare(Measurements(experiment="MUSIC", arms=arms, metrics=metrics))


def render(
    comparison: Comparison, *, output_format: str = "text", output: io.StringIO | None = None
) -> str:
    output = output or io.StringIO()
    report.render(comparison, output_format=output_format, output=output)
    return output.getvalue()


def test_treatments_are_sorted_as_people_count() -> None:
    assert sort_treatments(["T10", "T2", "C", "T1"]) == ["C", "T1", "T2", "T10"]
    assert sort_treatments(["T1", "C", "T2"], control="T2") == ["T2", "C", "T1"]


def test_a_comparison_has_every_treatment_and_metric() -> None:
    comparison = make_comparison(T2=11.0, T1=9.0, T10=10.0)
    assert [arm.treatment for arm in comparison.arms] == ["C", "T1", "T2", "T10"]
    assert [(effect.treatment, effect.metric) for effect in comparison.effects] == [
        (treatment, metric.name) for treatment in ("T1", "T2", "T10") for metric in METRICS
    ]


def test_a_control_without_users_is_unknown() -> None:
    measurements = Measurements(experiment="MUSIC", arms=[make_arm("T1")], metrics={})
    with pytest.raises(UnknownTreatmentError, match="it has: T1"):
        compare(measurements)


def test_an_arm_without_a_metric_has_an_effect_with_a_reason() -> None:
    measurements = Measurements(
        experiment="MUSIC",
        arms=[make_arm("C"), make_arm("T1")],
        metrics={("C", "time"): MetricAggregate(1000, 10.0, 4.0)},
    )
    comparison = compare(measurements)
    assert [(effect.metric, effect.reason) for effect in comparison.effects] == [
        ("time", "no user in the treatment")
    ]


def test_metrics_that_nobody_has_are_named_once() -> None:
    measurements = Measurements(
        experiment="MUSIC",
        arms=[make_arm("C"), make_arm("T1")],
        metrics={(name, "time"): MetricAggregate(1000, 10.0, 4.0) for name in ("C", "T1")},
    )
    comparison = compare(measurements)
    assert comparison.unmeasured == tuple(m.name for m in METRICS if m.name != "time")
    note = next(line for line in notes(comparison) if line.startswith("Not measured"))
    assert "retention" in note


def test_p_values_are_adjusted_over_all_tests_of_the_experiment() -> None:
    effects = make_comparison(T1=10.2, T2=10.0).effects
    tested = [effect.p_value for effect in effects if effect.p_value is not None]
    assert len(tested) == 2 * len(METRICS)
    smallest = min(effects, key=lambda effect: effect.p_value or 0.0)
    assert smallest.p_value is not None
    assert smallest.p_holm == pytest.approx(smallest.p_value * len(tested))
    # all of T1 are equal: each p-value has rank len(METRICS) of twice as many
    assert smallest.p_bh == pytest.approx(smallest.p_value * 2)


def test_a_terminal_gets_colour_by_what_is_good(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("COLUMNS", "100")
    lines = render(make_comparison(T1=12.0), output=Terminal()).splitlines()
    green, red = "\x1b[32m", "\x1b[31m"
    assert any(green in line and "mean_time_per_session" in line for line in lines)
    # more latency is bad news
    assert any(red in line and "mean_request_latency" in line for line in lines)


def test_a_file_gets_no_colour() -> None:
    assert "\x1b" not in render(make_comparison(T1=12.0))


def test_the_widest_numbers_fit_in_100_columns() -> None:
    lines = render(make_comparison(T1=12_345.678, T2=0.01)).splitlines()
    assert max(len(line) for line in lines) <= 100
    assert any(line.split()[2:5] == ["×1,235", "×1,219", "×1,250"] for line in lines)
    assert any(line.split()[-4:] == ["12,346", "<.001", "<.001", "yes"] for line in lines)


def test_nothing_is_minus_zero() -> None:
    text = render(make_comparison(T1=10.0 - 1e-6))
    assert re.search(r"T1 +time +\+0\.00% ", text)


def test_a_broken_split_is_said_first() -> None:
    arms = (make_arm("C", n_users=5200), make_arm("T1", n_users=4800))
    first = notes(make_comparison(*arms))[0]
    assert first.startswith("Sample ratio MISMATCH: the split is broken, trust no effect")


def test_open_sessions_are_said() -> None:
    lines = notes(make_comparison(make_arm("C", n_finished=1997), make_arm("T1")))
    assert "Sessions not closed yet: 3; they count as far as they went." in lines


def test_json_carries_the_notes_of_the_text() -> None:
    comparison = make_comparison(T1=12.0)
    assert json.loads(render(comparison, output_format="json"))["notes"] == notes(comparison)


def test_markup_in_a_name_is_only_text() -> None:
    output = io.StringIO()
    report.render_experiments({"[red]": {"[/]": 1}}, states={}, output_format="text", output=output)
    assert "[red]" in output.getvalue()
    assert "[/]" in output.getvalue()


def test_a_bar_in_a_name_does_not_end_a_markdown_cell() -> None:
    output = io.StringIO()
    report.render_experiments({"A|A": {"C": 1}}, states={}, output_format="markdown", output=output)
    assert output.getvalue().splitlines()[-1] == r"| A\|A | — | C | 1 |"
