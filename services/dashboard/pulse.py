"""What happens now: read from every part that tells, each of which may be away."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar

from analysis.adapters.measurements import DatabaseError
from analysis.core.activity import Minute
from services.dashboard.adapters.peers import PeerAwayError, PeerRefusalError, Peers
from services.dashboard.adapters.recommender_metrics import parse_metrics
from services.dashboard.adapters.results import ResultsSource
from services.dashboard.core.pulse import Counters, Rates, compare_counters

T = TypeVar("T")

N_MINUTES = 30
_FAULTS = (PeerAwayError, PeerRefusalError, DatabaseError, OSError, TimeoutError, ValueError)


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Everything at a moment; what is None could not be read.

    Attributes:
        up: Which services answer.
        counters: Of the recommender.
        rates: Since the reading before; None at the first.
        lag: The logger's answer: `undelivered`, `pending`, `dead_letters`, `consumer`.
        minutes: Of the log, oldest first.
        faults: Why something is None.
    """

    up: dict[str, bool]
    counters: Counters | None
    rates: Rates | None
    lag: dict[str, Any] | None
    minutes: Sequence[Minute] | None
    faults: tuple[str, ...]

    @property
    def fallback_share(self) -> float | None:
        """Share of the minutes' requests that the treatment's own recommender did not answer."""
        n_requests = sum(minute.n_requests for minute in self.minutes or ())
        n_fallbacks = sum(minute.n_fallbacks for minute in self.minutes or ())
        return n_fallbacks / n_requests if n_requests else None


class Pulse:
    """Reads all parts at once."""

    def __init__(
        self,
        peers: Peers,
        source: ResultsSource,
        *,
        now: Callable[[], datetime],
        seconds: Callable[[], float],
    ) -> None:
        """Read nothing yet."""
        self._peers = peers
        self._source = source
        self._now = now
        self._seconds = seconds
        self._before: Counters | None = None

    async def read(self) -> Reading:
        """Read everything; what is away is None, and `faults` says why."""
        faults: list[str] = []
        up, counters, lag, minutes = await asyncio.gather(
            self._peers.list_up(),
            _try(self._read_counters(), faults),
            _try(self._peers.logger.get("/lag"), faults),
            _try(self._source.fetch_minutes(self._now(), n_minutes=N_MINUTES), faults),
        )
        rates = compare_counters(self._before, counters) if self._before and counters else None
        self._before = counters
        return Reading(
            up=up,
            counters=counters,
            rates=rates,
            lag=lag,
            minutes=minutes,
            faults=tuple(faults),
        )

    async def _read_counters(self) -> Counters:
        text = await self._peers.recommender.get_text("/metrics")
        return parse_metrics(text, at_s=self._seconds())


async def _try(part: Awaitable[T], faults: list[str]) -> T | None:
    """Return what a part tells; None if it is away, and note why."""
    try:
        return await part
    except _FAULTS as error:
        faults.append(str(error) or type(error).__name__)
        return None
