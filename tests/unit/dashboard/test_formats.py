import re
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.dashboard.core import formats


@given(st.floats() | st.none())
def test_a_number_is_a_number_or_a_dash(value: float | None) -> None:
    written = [
        formats.format_change(value),
        formats.format_mean(value),
        formats.format_count(value),
        formats.format_share(value),
        formats.format_interval((value, value)),
    ]
    for text in written:
        number = r"([−+]?[\d,.]+%?|>?×[\d,.]+|—)"
        assert re.fullmatch(rf"{number}( to {number})?|-[\d,.]+%?", text), text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1.234, "+1.23%"),
        (-0.001, "+0.00%"),
        (-12.3, "−12.30%"),
        (1234.5, "×13.3"),
        (None, "—"),
        (2e9, ">×1,000,000"),
    ],
)
def test_change(value: float | None, text: str) -> None:
    assert formats.format_change(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0.0 s"),
        (0.4, "0.4 s"),
        (59, "59 s"),
        (timedelta(minutes=5), "5 min"),
        (3661, "1 h 1 min"),
        (86_400 * 2 + 30, "2 d"),
    ],
)
def test_duration(value: timedelta | float, text: str) -> None:
    assert formats.format_duration(value) == text


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("n_plays", 74_673.0, ("plays", "74,673")),
        ("training_s", 75.2, ("training", "1 min 15 s")),
        ("peak_memory_bytes", 647_225_344.0, ("peak memory", "647 MB")),
        ("recall_at_k", 0.25, ("recall at k", "0.250")),
        ("best_epoch", 11.0, ("best epoch", "11")),
    ],
)
def test_a_models_figures_have_names_and_units(
    name: str, value: float, shown: tuple[str, str]
) -> None:
    assert formats.describe_metric(name, value) == shown


def test_metrics_in_a_sentence_get_their_names() -> None:
    sentence = "better in mean_time_per_session (-1.0% to +2.0%), harms sessions"
    shown = "better in time per session (−1.0% to +2.0%), harms sessions"
    assert formats.name_metrics(sentence) == shown
