"""The states that this process wrote last, and whether they can be counted on."""

from collections import OrderedDict
from collections.abc import Callable

_WEIGHT = 1 / 64  # of the last guess
_RELIABLE = 0.95  # a wrong guess costs a decision, a right one saves a question to Redis


class RecentStates:
    """States by user, as far as they fit; the longest untouched go first.

    Where one process serves a listener, or a router keeps listeners on theirs, what it wrote last
    is what Redis has: a guess that is nearly always right. Where it often is not, there are no
    guesses, until those that would have been made were right for a while.
    """

    def __init__(self, seconds: Callable[[], float], *, max_bytes: int, max_age_s: float) -> None:
        """Start empty.

        Args:
            seconds: A monotonic clock.
            max_bytes: Of all states together.
            max_age_s: A state is forgotten after that long.
        """
        self._seconds = seconds
        self._max_bytes = max_bytes
        self._max_age_s = max_age_s
        self._n_bytes = 0
        self._states: OrderedDict[int, tuple[bytes, float]] = OrderedDict()
        self._reliability = 1.0

    def get(self, user: int) -> bytes:
        """Return a user's state; empty if there is none, or it has expired."""
        state, put_at = self._states.get(user, (b"", 0.0))
        return state if self._seconds() - put_at < self._max_age_s else b""

    def guess(self, user: int) -> bytes:
        """Return a user's state if it is likely to be the present one; empty otherwise."""
        return self.get(user) if self._reliability >= _RELIABLE else b""

    def learn(self, user: int, present: bytes) -> None:
        """Note whether the state that is remembered, if any, is the present one."""
        remembered = self.get(user)
        if remembered:
            self._reliability += ((remembered == present) - self._reliability) * _WEIGHT

    def put(self, user: int, state: bytes) -> None:
        """Remember a user's state; an empty one is forgotten."""
        self._n_bytes -= len(self._states.pop(user, (b"", 0.0))[0])
        if state:
            self._states[user] = state, self._seconds()
            self._n_bytes += len(state)
        while self._n_bytes > self._max_bytes:
            self._n_bytes -= len(self._states.popitem(last=False)[1][0])
