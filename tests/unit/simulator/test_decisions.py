"""Whether an experiment is decided."""

import msgspec
import pytest

from simulator.core.decisions import Analysis, judge, share_alpha

METRIC = "mean_time_per_session"


def effect(
    treatment: str, *, significant: bool | None, metric: str = METRIC, pct: float | None = 12.34
) -> dict[str, object]:
    numbers = {"effect_pct": pct, "lower_pct": pct and 2.0, "upper_pct": pct and 20.0}
    return {"treatment": treatment, "metric": metric, "significant": significant, **numbers}


def read(**document: object) -> Analysis:
    return msgspec.convert(document, Analysis)


def test_every_treatment_must_be_told_apart() -> None:
    both = [effect("T1", significant=True), effect("T2", significant=False)]
    verdict = judge(read(effects=both), metric=METRIC)
    assert not verdict.is_reached
    assert "T1: mean_time_per_session +12.3% (+2.0% to +20.0%), told apart" in verdict.reason
    assert "T2: mean_time_per_session +12.3% (+2.0% to +20.0%), open" in verdict.reason
    both[1]["significant"] = True
    assert judge(read(effects=both), metric=METRIC).is_reached


def test_only_the_metric_that_was_asked_for_decides() -> None:
    effects = [
        effect("T1", significant=True, metric="sessions"),
        effect("T1", significant=None, pct=None),
    ]
    verdict = judge(read(effects=effects), metric=METRIC)
    assert not verdict.is_reached
    assert verdict.reason == "T1: mean_time_per_session not known yet"
    assert judge(read(effects=effects), metric="sessions").is_reached
    assert not judge(read(effects=[]), metric=METRIC).is_reached


def test_a_broken_split_decides_nothing() -> None:
    document = read(effects=[effect("T1", significant=True)], sample_ratio={"mismatch": True})
    verdict = judge(document, metric=METRIC)
    assert not verdict.is_reached
    assert "sample ratio" in verdict.reason


@pytest.mark.parametrize("reached", [True, False])
def test_an_analysis_with_a_rule_of_its_own_decides(reached: bool) -> None:
    document = read(
        decision={"reached": reached, "reason": "always valid"},
        effects=[effect("T1", significant=not reached)],
    )
    verdict = judge(document, metric=METRIC)
    assert (verdict.is_reached, verdict.reason) == (reached, "always valid")


def test_many_looks_share_the_level() -> None:
    assert share_alpha(0.05, 10) == pytest.approx(0.005)
