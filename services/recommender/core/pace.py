"""Whether a recommender keeps up: one that does not must not make others' listeners wait."""

_WEIGHT = 1 / 4  # of the last decision: a single hiccup is forgiven


class Pace:
    """How long the decisions of one treatment take.

    All treatments share one thread. If decisions take longer than the limit, on average over the
    last few, the treatment rests: its fallbacks answer, until one decision shows that it is over.
    What others' listeners lose to it is thus one slow decision per rest.
    """

    def __init__(self, *, limit_s: float, rest_s: float) -> None:
        """Begin rested.

        Args:
            limit_s: What a decision may take on average.
            rest_s: How long the treatment rests before it may try again.
        """
        self._limit_s = limit_s
        self._rest_s = rest_s
        self._mean_s = 0.0
        self._rests_until = float("-inf")

    def is_resting(self, now: float) -> bool:
        """Return whether its recommender must not be asked now."""
        return now < self._rests_until

    def observe(self, duration_s: float, now: float) -> None:
        """Take a decision of its recommender into account."""
        has_recovered = duration_s <= self._limit_s < self._mean_s
        step_s = (duration_s - self._mean_s) * (1.0 if has_recovered else _WEIGHT)
        self._mean_s += step_s
        if self._mean_s > self._limit_s:
            self._rests_until = now + self._rest_s
