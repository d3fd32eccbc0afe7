"""A load generator that costs little: keep-alive connections, each playing sessions in turn."""

import asyncio
import functools
import json
import random
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

N_PLAYS = 30  # of a session


@dataclass
class Load:
    """What came of a load.

    Attributes:
        latencies_s: Of every request.
        failures: Answers that were not 200, by status.
        seconds: From the first request to the last answer.
        versions: When each model version answered, by `time.perf_counter`.
    """

    latencies_s: list[float] = field(default_factory=list)
    failures: dict[int, int] = field(default_factory=dict)
    seconds: float = 0.0
    versions: dict[str, list[float]] = field(default_factory=dict)

    def span_of(self, version: str) -> tuple[float, float]:
        """Return when a version answered first, and when any other did for the last time."""
        others = [
            seen for name, times in self.versions.items() if name != version for seen in times
        ]
        return min(self.versions[version]), max(others)


class _Connection(asyncio.Protocol):
    """Sends one request after another; an answer has a Content-Length."""

    def __init__(
        self, plays: Iterator[tuple[int, int, float]], load: Load, *, every_s: float, wait_s: float
    ) -> None:
        self._plays, self._load = plays, load
        self._every_s = every_s
        self._due_at = time.perf_counter() + wait_s
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self._sent_at = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.answered = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send_when_due()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(error or ConnectionResetError("the server hung up"))

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        at = head.lower().index(b"content-length:") + 15
        if len(body) < int(head[at:].split(b"\r\n", 1)[0]):
            return
        self._buffer = b""
        self._load.latencies_s.append(time.perf_counter() - self._sent_at)
        status = int(head[9:12])
        if status == 200:
            answer = json.loads(body)
            self.answered = answer.get("track", 0)
            if "model_version" in answer:
                seen = self._load.versions.setdefault(answer["model_version"], [])
                seen.append(time.perf_counter())
        else:
            self._load.failures[status] = self._load.failures.get(status, 0) + 1
        self._send_when_due()

    def _send_when_due(self) -> None:
        """Send at once, or at the time of the schedule; lateness counts as latency."""
        now = time.perf_counter()
        if not self._every_s:
            self._due_at = now
        if self._due_at <= now:
            self._send()
        else:
            asyncio.get_running_loop().call_later(self._due_at - now, self._send)

    def _send(self) -> None:
        play = next(self._plays, None)
        assert self._transport
        if play is None:
            self.done.set_result(None)
            self._transport.close()
            return
        user, first, listened = play
        track = first if first >= 0 else self.answered
        body = b'{"track":%d,"time":%.2f}' % (track, listened)
        self._sent_at = self._due_at
        self._due_at += self._every_s
        self._transport.write(
            b"POST /next/%d HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (user, len(body), body)
        )


def _play(
    users: range, *, n_requests: int, n_tracks: int, seed: int
) -> Iterator[tuple[int, int, float]]:
    """Yield user, first track (-1: the one recommended) and time, session after session."""
    draw = random.Random(seed)
    sent = 0
    for user in users:
        for position in range(N_PLAYS):
            if sent == n_requests:
                return
            sent += 1
            first = draw.randrange(n_tracks) if position == 0 else -1
            yield user, first, 1.0 if position == 0 else draw.randrange(101) / 100


async def play(
    port: int,
    *,
    n_connections: int,
    n_requests: int,
    n_tracks: int,
    first_user: int,
    rate: float = 0.0,
) -> Load:
    """Let every connection send its share of requests, one after another.

    Args:
        port: Of a server on this machine.
        n_connections: That wait for an answer at the same time.
        n_requests: In all.
        n_tracks: Track ids are below it.
        first_user: Of the users who play, whose ids follow each other.
        rate: Requests per second, evenly spread; 0 is as fast as they are answered.
    """
    load, loop = Load(), asyncio.get_running_loop()
    share = n_requests // n_connections
    started = time.perf_counter()
    links = []
    for connection in range(n_connections):
        base = first_user + connection * share
        plays = _play(range(base, base + share), n_requests=share, n_tracks=n_tracks, seed=base)
        every_s = n_connections / rate if rate else 0.0
        make = functools.partial(
            _Connection, plays, load, every_s=every_s, wait_s=every_s * connection / n_connections
        )
        _, link = await loop.create_connection(make, "127.0.0.1", port)
        links.append(link)
    await asyncio.gather(*(link.done for link in links))
    load.seconds = time.perf_counter() - started
    return load
