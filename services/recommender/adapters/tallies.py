"""What requests add to metrics, kept in plain numbers until it is written.

A write to a metric takes a lock and, where workers share a folder, goes through a mapped file:
several times what everything else costs that a request counts. Here requests add, and what they
added is written a few times a second, and before anybody reads the metrics.
"""

import asyncio
from bisect import bisect_left
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Histogram

from shared.metrics import RequestDurations, make_request_histogram, name_method

_FLUSH_EVERY_S = 0.1


class BulkHistogram(Histogram):
    """A histogram that takes many observations at once."""

    @property
    def bounds(self) -> Sequence[float]:
        """Upper bounds of the buckets, the last one infinite."""
        return self._upper_bounds

    def add(self, counts: Sequence[int], total: float) -> None:
        """Add observations.

        Args:
            counts: How many fell into each bucket.
            total: Their sum.
        """
        self._sum.inc(total)
        for bucket, count in zip(self._buckets, counts, strict=True):
            if count:
                bucket.inc(count)


class Tally:
    """What a counter has yet to be told."""

    __slots__ = ("_counter", "amount")

    def __init__(self, counter: Counter) -> None:
        """Start at nothing; `amount` is added to directly."""
        self._counter = counter
        self.amount = 0.0

    def flush(self) -> None:
        """Tell it."""
        if self.amount:
            self._counter.inc(self.amount)
            self.amount = 0.0


class HistogramTally:
    """What a histogram has yet to be told."""

    __slots__ = ("_bounds", "_counts", "_histogram", "_total")

    def __init__(self, histogram: BulkHistogram) -> None:
        """Start at nothing."""
        self._histogram = histogram
        self._bounds = histogram.bounds
        self._counts = [0] * len(self._bounds)
        self._total = 0.0

    def observe(self, value: float) -> None:
        """Count a value."""
        self._counts[bisect_left(self._bounds, value)] += 1
        self._total += value

    def flush(self) -> None:
        """Tell it."""
        if any(self._counts):
            self._histogram.add(self._counts, self._total)
            self._counts = [0] * len(self._bounds)
            self._total = 0.0


class Tallies:
    """All tallies of an application."""

    def __init__(self) -> None:
        """Start without any."""
        self._all: list[Tally | HistogramTally] = []

    def of_counter(self, counter: Counter) -> Tally:
        """Keep a tally for a counter, its labels given."""
        tally = Tally(counter)
        self._all.append(tally)
        return tally

    def of_histogram(self, histogram: BulkHistogram) -> HistogramTally:
        """Keep a tally for a histogram, its labels given."""
        tally = HistogramTally(histogram)
        self._all.append(tally)
        return tally

    def flush(self) -> None:
        """Write everything."""
        for tally in self._all:
            tally.flush()

    async def flush_regularly(self) -> None:
        """Write everything a few times a second, until cancelled, and then once more."""
        try:
            while True:
                await asyncio.sleep(_FLUSH_EVERY_S)
                self.flush()
        finally:
            self.flush()


class TalliedDurations(RequestDurations):
    """How long answers took, kept in tallies."""

    def __init__(self, registry: CollectorRegistry, tallies: Tallies) -> None:
        """Register the histogram."""
        self._bulk = make_request_histogram(registry, BulkHistogram)
        self._tallies = tallies
        self._tallied: dict[tuple[str, str, int], HistogramTally] = {}

    def observe(self, method: str, route: str, status: int, duration_s: float) -> None:
        """Record one answer."""
        tally = self._tallied.get((method, route, status))
        if tally is None:
            child = self._bulk.labels(name_method(method), route, status)
            tally = self._tallied[method, route, status] = self._tallies.of_histogram(child)
        tally.observe(duration_s)
