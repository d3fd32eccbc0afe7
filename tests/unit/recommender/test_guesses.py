from services.recommender.adapters.guesses import Guesses, OwnStates


class Seconds:
    """A clock that a test moves."""

    now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def make_states(seconds: Seconds | None = None, *, max_bytes: int = 1000) -> OwnStates:
    return OwnStates(seconds or Seconds(), max_bytes=max_bytes, max_age_s=60)


def test_a_state_is_remembered_until_it_expires() -> None:
    seconds = Seconds()
    states = make_states(seconds)
    states.put(1, b"state")
    seconds.now += 59.9
    assert states.recall(1) == b"state"
    seconds.now += 0.2
    assert states.recall(1) == b""


def test_an_empty_state_is_forgotten() -> None:
    states = make_states()
    states.put(1, b"state")
    states.put(1, b"")
    assert states.recall(1) == b""


def test_the_longest_untouched_make_room() -> None:
    states = make_states(max_bytes=30)
    for user in (1, 2, 3, 1):
        states.put(user, b"x" * 10)
    states.put(4, b"y" * 15)
    assert [states.recall(user) != b"" for user in (1, 2, 3, 4)] == [True, False, False, True]


def test_it_guesses_no_more_where_others_serve_the_same_listeners() -> None:
    states = make_states()
    guesses = Guesses(states)
    for user in range(10):
        guesses.put(user, b"mine")
        guesses.learn(user, b"another's")
    assert guesses.guess(1) == b""
    assert states.recall(1) == b"mine"


def test_it_guesses_again_once_it_would_have_been_right_for_a_while() -> None:
    states = make_states()
    guesses = Guesses(states)
    guesses.put(1, b"mine")
    for _ in range(1000):
        guesses.learn(1, b"another's")
    for _ in range(500):
        guesses.learn(1, b"mine")
    assert guesses.guess(1) == b"mine"


def test_what_is_not_remembered_teaches_nothing() -> None:
    states = make_states()
    guesses = Guesses(states)
    for user in range(100):
        guesses.learn(user, b"unknown here")
    guesses.put(1, b"state")
    assert guesses.guess(1) == b"state"
