"""Clients that are slow, hostile or odd, on real sockets, beside others that are none of this."""

import asyncio
import contextlib
import itertools
import json
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from services.recommender.adapters.metrics import Metrics
from services.recommender.api import Application
from services.recommender.app import Adapters, create_app
from services.recommender.connection import MAX_HEAD, SERVER_OPTIONS
from services.recommender.connection_watch import ANSWER_S, LINGER_S
from services.recommender.core.decisions import Clock, Outcome
from services.recommender.core.models import Models
from services.recommender.parsing import MAX_BODY
from tests.unit.recommender.factories import (
    FIRST_ID,
    FixedModels,
    MemorySessionStore,
    Silent,
    make_index,
    make_served,
    make_settings,
)

BODY = b'{"track":%d,"time":0.5}' % FIRST_ID
USERS = itertools.count(1000)


def head(
    user: int = 1, *, length: int = len(BODY), path: bytes = b"/next", more: bytes = b""
) -> bytes:
    """Return the head of a report."""
    line = b"POST %b/%d HTTP/1.1\r\nHost: x\r\n" % (path, user)
    return line + b"Content-Length: %d\r\n%b\r\n" % (length, more)


class Client:
    """A bare socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Wrap it."""
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes."""
        self.writer.write(data)
        await self.writer.drain()

    async def answer(self) -> tuple[int, dict[str, str], Any]:
        """Read an answer: status, headers, decoded body."""
        async with asyncio.timeout(20):
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = dict(line.lower().split(": ", 1) for line in lines[1:] if line)
            body = await self.reader.readexactly(int(headers.get("content-length", 0)))
        return int(lines[0].split()[1]), headers, json.loads(body) if body else None

    async def is_hung_up(self) -> bool:
        """Wait until the server has closed its side, without another word."""
        async with asyncio.timeout(20):
            with contextlib.suppress(ConnectionResetError):
                assert await self.reader.read() == b""
        return True


class Server:
    """The service on a real socket, with a clock that only the test moves."""

    def __init__(self, app: Application, store: MemorySessionStore, port: int) -> None:
        """Keep all three."""
        self.app = app
        self.store = store
        self.port = port
        self.now = 0.0
        self._writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> Client:
        """Open a connection."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self._writers.append(writer)
        return Client(reader, writer)

    async def later(self, seconds: float) -> None:
        """Let what was sent arrive, and time pass."""
        await asyncio.sleep(0.05)
        self.now += seconds
        self.app.watch.look()

    async def is_well(self, n: int = 5) -> bool:
        """Report playbacks as a good client does; return whether each got its answer."""
        client = await self.connect()
        for _ in range(n):
            user = next(USERS)
            await client.send(head(user) + BODY)
            status, _, body = await client.answer()
            if (status, body["user"]) != (200, user):
                return False
        return True

    def close(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()


@contextlib.asynccontextmanager
async def serving(folder: Path, store: MemorySessionStore, **changes: Any) -> AsyncIterator[Server]:
    """Serve on a free port."""
    time: list[Server] = []
    clock = Clock(seconds=lambda: time[0].now if time else 0.0)
    models = FixedModels(Models({"latest": make_served(make_index())}))
    adapters = Adapters(store=store, models=models, announcer=Silent(), clock=clock)
    app = create_app(make_settings(folder, **changes), adapters)
    assert isinstance(app, Application)
    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(app, timeout_graceful_shutdown=1, **SERVER_OPTIONS)
    uvicorn_server = uvicorn.Server(config)
    running = asyncio.create_task(uvicorn_server.serve([bound]))
    while not uvicorn_server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.005)
    server = Server(app, store, bound.getsockname()[1])
    time.append(server)
    try:
        yield server
    finally:
        server.close()
        uvicorn_server.should_exit = True
        await running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    """Return a running service."""
    async with serving(tmp_path, MemorySessionStore()) as running:
        yield running


def assert_refused(answer: tuple[int, dict[str, str], Any], status: int) -> None:
    assert answer[0] == status
    assert answer[1]["content-type"] == "application/problem+json"
    assert answer[1]["connection"] == "close"
    assert answer[2]["status"] == status


async def test_a_report_is_answered_as_through_asgi(server: Server) -> None:
    client = await server.connect()
    await client.send(head(7) + BODY)
    fast = await client.answer()
    await client.send(head(8, more=b"Expect: 100-continue\r\n"))
    assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
    await client.send(BODY)
    slow = await client.answer()
    assert fast[0] == slow[0] == 200
    ours = {"x-content-type-options", "x-request-id"}
    assert set(fast[1]) == set(slow[1]) == {"date", "content-type", "content-length", *ours}
    assert set(fast[2]) == set(slow[2])


@pytest.mark.parametrize("path", [b"/next", b"/last"])
async def test_a_report_may_come_byte_by_byte(server: Server, path: bytes) -> None:
    client = await server.connect()
    for byte in head(5, path=path) + BODY:
        await client.send(bytes([byte]))
        await asyncio.sleep(0)
    assert (await client.answer())[0] == 200
    assert [event.user for event in server.store.events] == [5]


async def test_pipelined_requests_are_answered_in_order(server: Server) -> None:
    client = await server.connect()
    plain = b"GET /track/%d HTTP/1.1\r\nHost: x\r\n\r\n" % FIRST_ID
    await client.send(head(1) + BODY + plain + head(2) + BODY + head(3) + BODY + plain)
    answers = [await client.answer() for _ in range(5)]
    assert [answer[0] for answer in answers] == [200] * 5
    told = [answer[2].get("user", "track") for answer in answers]
    assert told == [1, "track", 2, 3, "track"]


async def test_a_body_may_come_in_chunks(server: Server) -> None:
    client = await server.connect()
    first, second = BODY[:5], BODY[5:]
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (first, second))
    start = b"POST /next/4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
    await client.send(start + chunks + b"0\r\n\r\n")
    assert (await client.answer())[0] == 200


@pytest.mark.parametrize(
    "line", [b"POST /next/4 HTTP/1.0\r\n", b"POST /next/4 HTTP/1.1\r\nConnection: close\r\n"]
)
async def test_who_wants_no_more_is_hung_up_on(server: Server, line: bytes) -> None:
    client = await server.connect()
    await client.send(line + b"Content-Length: %d\r\n\r\n" % len(BODY) + BODY)
    status, headers, _ = await client.answer()
    assert (status, headers["connection"]) == (200, "close")
    assert await client.is_hung_up()


async def test_an_upgrade_that_is_not_offered_is_ignored(server: Server) -> None:
    client = await server.connect()
    await client.send(b"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    assert (await client.answer())[0] == 200


@pytest.mark.parametrize("path", [b"/next", b"/track", b"/absent"])
async def test_a_large_body_is_refused_before_it_is_sent(server: Server, path: bytes) -> None:
    client = await server.connect()
    await client.send(head(5, length=MAX_BODY + 1, path=path))
    assert_refused(await client.answer(), 413)
    assert await client.is_hung_up()
    assert await server.is_well()


async def test_a_body_without_an_end_is_refused(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /next/4 HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_BODY // 4096 + 2):
        await client.send(b"1000\r\n%b\r\n" % (b" " * 4096))
    assert_refused(await client.answer(), 413)
    assert not server.store.events


@pytest.mark.parametrize(
    "more",
    [
        b"X: %b\r\n" % (b"x" * MAX_HEAD),
        b"".join(b"X-%d: x\r\n" % n for n in range(4000)),
        b"X: %b" % (b"x" * 300_000),  # and no end
    ],
    ids=["one", "many", "endless"],
)
async def test_a_large_head_is_refused(server: Server, more: bytes) -> None:
    client = await server.connect()
    await client.send(head(5, more=more) + BODY)
    assert_refused(await client.answer(), 431)
    assert await server.is_well()
    assert not any(event.user == 5 for event in server.store.events)


async def test_a_long_address_is_refused(server: Server) -> None:
    client = await server.connect()
    await client.send(b"POST /next/" + b"9" * 200_000)
    assert_refused(await client.answer(), 431)


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x16\x03\x01\x02\x00\x01\x00",  # TLS
        b"POST /next/5 HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
        b"POST /next/5 HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"POST /next/5 HTTP/1.1\r\nno colon\r\n\r\n",
        b"*1\r\n$4\r\nPING\r\n",
    ],
)
async def test_what_is_no_http_is_refused(server: Server, garbage: bytes) -> None:
    client = await server.connect()
    await client.send(garbage)
    assert_refused(await client.answer(), 400)
    assert await server.is_well()
    assert not any(event.user == 5 for event in server.store.events)


@pytest.mark.parametrize(
    ("start", "more"),
    [
        (b"P", b"O"),
        (b"POST /next/5 HTTP/1.1\r\nX: ", b" "),
        (head(5), b" "),
        (head(5) + BODY[:-2], b" "),
    ],
)
async def test_slow_senders_are_given_up_however_steadily_they_send(
    server: Server, start: bytes, more: bytes
) -> None:
    slow = [await server.connect() for _ in range(20)]
    for client in slow:
        await client.send(start)
    await server.later(6)
    for client in slow:
        await client.send(more)  # which does not begin their time anew
    assert await server.is_well()
    await server.later(6)
    for client in slow:
        assert_refused(await client.answer(), 408)
        assert await client.is_hung_up()
    await server.later(LINGER_S + 1)
    assert await server.is_well()
    assert not any(event.user == 5 for event in server.store.events)
    assert len(server.app.watch.connections) <= 2  # the good ones


async def test_who_goes_on_sending_after_a_refusal_is_cut_off(server: Server) -> None:
    client = await server.connect()
    await client.send(head(5, length=10**9))
    assert_refused(await client.answer(), 413)
    await client.send(b" " * 100_000)
    await server.later(LINGER_S + 1)
    await asyncio.sleep(0.05)
    assert not server.app.watch.connections


async def test_an_idle_connection_is_closed_in_the_end(server: Server) -> None:
    fresh, used = await server.connect(), await server.connect()
    await used.send(head() + BODY)
    await used.answer()
    await server.later(74)
    await used.send(head() + BODY)
    assert (await used.answer())[0] == 200
    await server.later(2)
    assert await fresh.is_hung_up()
    await used.send(head() + BODY)
    assert (await used.answer())[0] == 200


async def test_half_sent_reports_do_not_keep_others_out(tmp_path: Path) -> None:
    async with serving(tmp_path, MemorySessionStore(), max_in_flight=1) as server:
        for user in range(20):
            await (await server.connect()).send(head(user) + BODY[:-1])
        assert await server.is_well()


async def test_hundreds_of_idle_connections_do_not_keep_others_out(server: Server) -> None:
    for _ in range(300):
        await server.connect()
    assert await server.is_well(20)
    assert len(server.app.watch.connections) == 301


async def test_who_does_not_read_is_cut_off(server: Server) -> None:
    client = await server.connect()
    client.writer.transport.pause_reading()  # type: ignore[attr-defined]
    with contextlib.suppress(TimeoutError, ConnectionError):
        async with asyncio.timeout(1):
            while True:
                await client.send((b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n") * 50)
    assert await server.is_well()
    await server.later(ANSWER_S + 1)
    await asyncio.sleep(0.05)
    assert len(server.app.watch.connections) <= 1
    assert await server.is_well()


class BrokenStore(MemorySessionStore):
    """Fails in a way that nobody foresaw."""

    async def update(self, user: int, transition: Any) -> Outcome:
        """Fail for one user."""
        if user == 5:
            raise RuntimeError("a secret")
        return await super().update(user, transition)


async def test_a_fault_of_ours_is_a_problem_that_tells_nothing(tmp_path: Path) -> None:
    async with serving(tmp_path, BrokenStore()) as server:
        client = await server.connect()
        await client.send(head(5) + BODY)
        status, headers, body = await client.answer()
        assert (status, headers["content-type"]) == (500, "application/problem+json")
        assert "secret" not in json.dumps(body)
        assert await server.is_well()


async def test_refusals_are_counted(server: Server) -> None:
    for data in (head(5, length=10**6), b"no HTTP\r\n\r\n"):
        client = await server.connect()
        await client.send(data)
        await client.answer()
    metrics: Metrics = server.app.metrics
    metrics.tallies.flush()
    for labels in (
        {"method": "POST", "route": "/next/{user}", "status": "413"},
        {"method": "other", "route": "unmatched", "status": "400"},
    ):
        name = "segue_request_duration_seconds_count"
        assert metrics.registry.get_sample_value(name, labels) == 1
