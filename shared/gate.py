"""A bound on what is done at once."""

from shared.http import ProblemError


class Gate:
    """Lets only so many in at once: a client who would wait too long is told so at once."""

    def __init__(self, limit: int) -> None:
        """Open it for `limit`."""
        self._limit = limit
        self._n_inside = 0

    def __enter__(self) -> None:
        """Go in.

        Raises:
            ProblemError: If it is full.
        """
        if self._n_inside >= self._limit:
            detail = f"{self._n_inside} requests are being answered"
            raise ProblemError(429, "Too many requests", detail)
        self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._n_inside -= 1
