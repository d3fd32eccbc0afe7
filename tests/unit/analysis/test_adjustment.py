import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.adjustment import adjust_benjamini_hochberg, adjust_holm


def test_holm_by_hand() -> None:
    # sorted 0.01, 0.02, 0.04: times 3, 2, 1, never falling
    assert adjust_holm([0.04, 0.01, 0.02]) == pytest.approx([0.04, 0.03, 0.04])


def test_what_was_not_tested_is_no_test() -> None:
    assert adjust_holm([0.01, None, 0.02]) == [0.02, None, 0.02]
    assert adjust_benjamini_hochberg([None, 0.5]) == [None, 0.5]
    assert adjust_holm([]) == []


def test_no_adjusted_p_value_exceeds_one() -> None:
    assert adjust_holm([0.6, 0.9]) == [1.0, 1.0]


@given(st.lists(st.floats(0, 1), min_size=1))
def test_benjamini_hochberg_is_scipys(p_values: list[float]) -> None:
    expected = scipy.stats.false_discovery_control(p_values)
    assert np.allclose(np.array(adjust_benjamini_hochberg(p_values), dtype=float), expected)


@given(st.lists(st.floats(0, 1), min_size=1))
def test_holm_rejects_what_the_step_down_procedure_rejects(p_values: list[float]) -> None:
    rejected = set()
    for rank, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        if (len(p_values) - rank) * p_values[index] > 0.05:
            break
        rejected.add(index)
    adjusted = adjust_holm(p_values)
    assert {i for i, p in enumerate(adjusted) if p is not None and p <= 0.05} == rejected
