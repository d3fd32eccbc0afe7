"""Whether a recommender keeps up: one that does not must not make others' listeners wait."""

from collections.abc import Callable

_WEIGHT = 1 / 4  # of the last decision: a single hiccup is forgiven


class Pace:
    """How long the decisions of one treatment take.

    All treatments share one thread. If decisions take longer than the limit, on average over the
    last few, the treatment rests: its fallbacks answer, until one decision shows that it is over.
    What others' listeners lose to it is thus one slow decision per rest.

    A busy machine makes everyone slow. So a decision that took long only raises suspicion, and the
    next ones are measured by what the thread computed, which costs too much to do each time.
    """

    def __init__(self, *, limit_s: float, rest_s: float, cpu_seconds: Callable[[], float]) -> None:
        """Begin rested.

        Args:
            limit_s: What a decision may take on average.
            rest_s: How long the treatment rests before it may try again.
            cpu_seconds: Measures what this thread has computed.
        """
        self._limit_s = limit_s
        self._rest_s = rest_s
        self._cpu_seconds = cpu_seconds
        self._is_suspected = False
        self._is_deciding = False
        self._began_s = 0.0
        self._mean_s = 0.0
        self._rests_until = float("-inf")

    def begin(self, now: float) -> bool:
        """Begin a decision; return whether its recommender may be asked."""
        self._is_deciding = now >= self._rests_until
        if self._is_deciding and self._is_suspected:
            self._began_s = self._cpu_seconds()
        return self._is_deciding

    def end(self, duration_s: float, now: float) -> None:
        """Take the decision that began last into account, if its recommender was asked.

        Args:
            duration_s: How long it took, by the clock.
            now: The time.
        """
        if not self._is_deciding:
            return
        if self._is_suspected:
            self._judge(self._cpu_seconds() - self._began_s, now)
        else:
            self._is_suspected = duration_s > self._limit_s

    def _judge(self, computed_s: float, now: float) -> None:
        if computed_s <= self._limit_s:
            self._is_suspected, self._mean_s = False, 0.0
            return
        self._mean_s += (computed_s - self._mean_s) * _WEIGHT
        if self._mean_s > self._limit_s:
            self._rests_until = now + self._rest_s
