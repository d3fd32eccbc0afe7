from services.recommender.adapters.recent_states import RecentStates


class Seconds:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_recent(seconds: Seconds | None = None, *, max_bytes: int = 1000) -> RecentStates:
    return RecentStates(seconds or Seconds(), max_bytes=max_bytes, max_age_s=60)


def test_a_state_is_remembered_until_it_expires() -> None:
    seconds = Seconds()
    recent = make_recent(seconds)
    recent.put(1, b"state")
    seconds.now += 59.9
    assert recent.get(1) == recent.guess(1) == b"state"
    seconds.now += 0.2
    assert recent.get(1) == recent.guess(1) == b""


def test_an_empty_state_is_forgotten() -> None:
    recent = make_recent()
    recent.put(1, b"state")
    recent.put(1, b"")
    assert recent.get(1) == b""


def test_the_longest_untouched_make_room() -> None:
    recent = make_recent(max_bytes=30)
    for user in (1, 2, 3, 1):
        recent.put(user, b"x" * 10)
    recent.put(4, b"y" * 15)
    assert [recent.get(user) != b"" for user in (1, 2, 3, 4)] == [True, False, False, True]


def test_it_guesses_no_more_where_others_serve_the_same_listeners() -> None:
    recent = make_recent()
    for user in range(10):
        recent.put(user, b"mine")
        recent.learn(user, b"another's")
    assert recent.guess(1) == b""
    assert recent.get(1) == b"mine"


def test_it_guesses_again_once_it_would_have_been_right_for_a_while() -> None:
    recent = make_recent()
    recent.put(1, b"mine")
    for _ in range(1000):
        recent.learn(1, b"another's")
    for _ in range(500):
        recent.learn(1, b"mine")
    assert recent.guess(1) == b"mine"


def test_what_is_not_remembered_teaches_nothing() -> None:
    recent = make_recent()
    for user in range(100):
        recent.learn(user, b"unknown here")
    recent.put(1, b"state")
    assert recent.guess(1) == b"state"
