"""What the logger tells Prometheus."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from services.logger.core.storage import StoreResult
from shared.event_stream import StreamLag

SIZES = (1, 10, 50, 100, 250, 500, 1000, 2500, 5000, 10_000)
LATENCIES_S = (0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10)
DELAYS_S = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 3600)


class Metrics:
    """The logger's metrics, in a registry of their own."""

    def __init__(self) -> None:
        """Register them all."""
        self.registry = CollectorRegistry()
        self._stored = Counter(
            "segue_logger_events_stored", "Rows that are new", ["source"], registry=self.registry
        )
        self._duplicates = Counter(
            "segue_logger_events_duplicate",
            "Events that were there already",
            ["source"],
            registry=self.registry,
        )
        self._dead_letters = Counter(
            "segue_logger_dead_letters",
            "Payloads that cannot be stored, repeated ones included",
            ["source", "reason"],
            registry=self.registry,
        )
        self._batch_size = Histogram(
            "segue_logger_batch_events",
            "Payloads per commit",
            ["source"],
            buckets=SIZES,
            registry=self.registry,
        )
        self._commit_latency = Histogram(
            "segue_logger_commit_seconds",
            "From a batch to its commit",
            ["source"],
            buckets=LATENCIES_S,
            registry=self.registry,
        )
        self._delay = Histogram(
            "segue_logger_event_delay_seconds",
            "From a streamed event to its row",
            buckets=DELAYS_S,
            registry=self.registry,
        )
        self._failures = Counter(
            "segue_logger_failures",
            "Attempts that will be made again",
            ["part"],
            registry=self.registry,
        )
        self._undelivered = Gauge(
            "segue_logger_stream_undelivered",
            "Stream entries not yet delivered",
            registry=self.registry,
        )
        self._pending = Gauge(
            "segue_logger_stream_pending",
            "Stream entries delivered, not yet stored",
            registry=self.registry,
        )

        self._lag_seconds = Gauge(
            "segue_logger_stream_lag_seconds",
            "Age of the oldest stream entry that is not stored; 0 without any",
            registry=self.registry,
        )
        self._last_commit = Gauge(
            "segue_logger_last_commit_timestamp_seconds",
            "When a batch was last committed; 0 before the first",
            registry=self.registry,
        )

    def observe_commit(self, result: StoreResult, *, source: str, latency_s: float) -> None:
        """Count what became of one batch."""
        self._stored.labels(source).inc(result.stored)
        self._duplicates.labels(source).inc(result.duplicates)
        for letter in result.dead_letters:
            self._dead_letters.labels(source, letter.reason_class).inc()
        size = result.stored + result.duplicates + len(result.dead_letters)
        self._batch_size.labels(source).observe(size)
        self._commit_latency.labels(source).observe(latency_s)
        self._last_commit.set_to_current_time()

    def observe_delay(self, delay_s: float) -> None:
        """Count one event's way from its answer to its row."""
        self._delay.observe(delay_s)

    def observe_lag(self, lag: StreamLag) -> None:
        """Note how far the stream is behind."""
        self._undelivered.set(lag.undelivered)
        self._pending.set(lag.pending)
        self._lag_seconds.set(lag.oldest_s)

    def count_failure(self, part: str) -> None:
        """Count an attempt at `redis` or `postgres` that will be made again."""
        self._failures.labels(part).inc()
