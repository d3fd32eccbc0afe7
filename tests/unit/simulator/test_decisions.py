"""Whether an experiment is decided."""

import msgspec
import pytest

from simulator.core.decisions import Analysis, judge


@pytest.mark.parametrize("reached", [True, False])
def test_the_analysis_decides(reached: bool) -> None:
    decision = {"reached": reached, "reason": "always valid", "action": "ship"}
    verdict = judge(msgspec.convert({"decision": decision, "effects": []}, Analysis))
    assert (verdict.is_reached, verdict.reason) == (reached, "always valid")


@pytest.mark.parametrize("document", [{}, {"decision": None}])
def test_without_a_decision_a_run_goes_on(document: dict[str, object]) -> None:
    assert not judge(msgspec.convert(document, Analysis)).is_reached
