"""Version ids sort by time; rollbacks lead back and never forth."""

from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st

from services.trainer.core.versions import find_previous, make_version_id

VERSIONS = st.lists(st.sampled_from("ABCDE"), max_size=12)


def test_id_is_readable_and_in_utc() -> None:
    at = datetime(2026, 11, 24, 10, 30, 15, tzinfo=timezone(timedelta(hours=3)))
    assert make_version_id(at, "a1b2c3d4") == "20261124T073015Z-a1b2c3"


@given(st.lists(st.integers(-30_000_000_000, 200_000_000_000), min_size=2, max_size=2))
def test_ids_sort_by_time(seconds: list[int]) -> None:
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    first, second = (epoch + timedelta(seconds=value) for value in sorted(seconds))
    assert make_version_id(first, "a1b2c3") <= make_version_id(second, "a1b2c3")


def test_rollback_leads_to_what_served_before() -> None:
    assert find_previous(["A", "B"], "AB") == "A"


def test_a_second_rollback_leads_further_back() -> None:
    assert find_previous(["A", "B", "C", "B"], "ABC") == "A"
    assert find_previous(["A", "B", "C", "B", "A"], "ABC") is None


def test_rollback_passes_over_what_expired() -> None:
    assert find_previous(["A", "B", "C"], "AC") == "A"


def test_nothing_before_the_first() -> None:
    assert find_previous([], "A") is None
    assert find_previous(["A", "A"], "A") is None


@given(VERSIONS)
def test_repeated_rollbacks_end_and_never_return(history: list[str]) -> None:
    seen = history[-1:]
    while (previous := find_previous(history, "ABCDE")) is not None:
        assert previous not in seen
        seen.append(previous)
        history = [*history, previous]
