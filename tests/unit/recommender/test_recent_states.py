"""What workers remember of sessions: the newest state of all their files, whole or not at all."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.recommender.adapters.recent_states import Recent, RecentStates

Opener = Callable[..., RecentStates]


class Clock:
    """A clock that moves by itself, and can be set."""

    def __init__(self) -> None:
        """Start at some time."""
        self.now_ns = 10**18

    def __call__(self) -> int:
        """Tell the time, a microsecond later than before."""
        self.now_ns += 1_000
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def open_states(tmp_path: Path, clock: Clock) -> Iterator[Opener]:
    with contextlib.ExitStack() as stack:

        def open_(name: str = "0", **sizes: int) -> RecentStates:
            sizes = {"n_slots": 64, "ring_bytes": 2_048} | sizes
            path = tmp_path / f"{name}.recent"
            return stack.enter_context(
                contextlib.closing(RecentStates(path, max_age_s=60, now_ns=clock, **sizes))
            )

        yield open_


def test_the_newest_state_of_any_worker_is_found(open_states: Opener) -> None:
    one, other = open_states("0"), open_states("1")
    one.put(7, b"first")
    assert other.find(7) == Recent(b"first", False)
    other.put(7, b"second")
    assert one.find(7) == Recent(b"second", False)
    one.put(7, b"third")
    assert other.find(7) == Recent(b"third", False)
    assert one.find(8) is None


def test_the_end_of_a_session_is_remembered(open_states: Opener) -> None:
    states = open_states()
    states.put(7, b"state")
    states.put(7, b"")
    assert states.find(7) == Recent(b"", False)


def test_what_a_process_wrote_outlives_it(open_states: Opener) -> None:
    open_states().put(7, b"state")
    assert open_states().find(7) == Recent(b"state", False)


def test_a_state_is_spooled_until_it_is_settled_or_a_newer_one_is_not(open_states: Opener) -> None:
    one, other = open_states("0"), open_states("1")
    one.put(7, b"first", is_spooled=True)
    assert other.is_spooled(7)
    assert not other.is_spooled(8)
    one.settle(7)
    assert not other.is_spooled(7)
    assert one.find(7) == Recent(b"first", False)
    one.put(7, b"second", is_spooled=True)
    other.put(7, b"third")
    assert not one.is_spooled(7)


def test_an_old_state_and_one_of_a_clock_set_back_count_as_nothing(
    open_states: Opener, clock: Clock
) -> None:
    states = open_states()
    states.put(7, b"state")
    clock.now_ns -= 10**9
    assert states.find(7) is None
    clock.now_ns += 62 * 10**9
    assert states.find(7) is None


def test_what_is_written_over_is_lost_and_nothing_older_stands_in(open_states: Opener) -> None:
    one, other = open_states("0", ring_bytes=512), open_states("1", ring_bytes=512)
    other.put(1, b"older")
    one.put(1, b"a" * 60)
    for user in (2, 3):
        one.put(user, b"b" * 60)
    assert one.find(1) is None
    assert other.find(1) == Recent(b"", False)
    assert other.find(3) == Recent(b"b" * 60, False)
    one.put(4, b"c" * 513)
    assert one.find(4) is None


def test_a_damaged_state_counts_as_nothing(open_states: Opener, tmp_path: Path) -> None:
    open_states().put(2, b"b" * 60)
    path = tmp_path / "0.recent"
    path.write_bytes(path.read_bytes().replace(b"b" * 60, b"b" * 59 + b"x"))
    assert open_states().find(2) is None


def test_a_user_who_goes_on_takes_no_more_room(open_states: Opener) -> None:
    states = open_states(ring_bytes=1_024)
    states.put(1, b"first")
    for step in range(100):
        states.put(2, b"%0100d" % step)
    assert states.find(1) == Recent(b"first", False)
    assert states.find(2) == Recent(b"%0100d" % 99, False)


@given(
    st.lists(
        st.tuples(st.integers(0, 200), st.binary(max_size=40), st.booleans(), st.integers(0, 1)),
        max_size=60,
    )
)
def test_a_user_is_never_told_anothers_state(
    tmp_path_factory: pytest.TempPathFactory, puts: list[tuple[int, bytes, bool, int]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("states"), Clock()
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(
                contextlib.closing(
                    RecentStates(
                        folder / f"{n}.recent",
                        max_age_s=60,
                        now_ns=clock,
                        n_slots=16,
                        ring_bytes=1_024,
                    )
                )
            )
            for n in range(2)
        ]
        last: dict[int, Recent] = {}
        for user, state, is_spooled, n in puts:
            workers[n].put(user, state, is_spooled=is_spooled)
            last[user] = Recent(state, is_spooled)
            assert workers[n].find(user) == last[user]
        for user in last:
            found = workers[0].find(user)
            own = {state for other, state, *_ in puts if other == user}
            assert found is None or found.state in own | {b""}
