"""The transport against a server that answers, or does not, as each test tells it."""

import asyncio
import contextlib
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from pathlib import Path

import httpx
import pytest
import uvloop

from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.adapters.transport import Transport
from tests.conftest import free_port
from tests.integration.simulator.background import make_answer

# What a server does with one request, of which it gets the head and the body.
Handle = Callable[[asyncio.StreamWriter, bytes, bytes], Awaitable[None]]
LONG_S = 60.0


class Server:
    """Reads requests and hands them on; a connection ends when `handle` closes it.

    Attributes:
        url: Where it answers.
        heads: Of all requests.
        readers, writers: Of all connections.
        n_connections: That were opened.
        most_at_once: Connections that were open at once, at most.
    """

    def __init__(self, handle: Handle) -> None:
        self.handle = handle
        self.heads: list[bytes] = []
        self.readers: list[asyncio.StreamReader] = []
        self.writers: list[asyncio.StreamWriter] = []
        self.n_connections = self.most_at_once = self._n_open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.readers.append(reader)
        self.writers.append(writer)
        self.n_connections += 1
        self._n_open += 1
        self.most_at_once = max(self.most_at_once, self._n_open)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.lower().partition(b"content-length:")[2].split()[0])
                self.heads.append(head)
                await self.handle(writer, head, await reader.readexactly(length))
        self._n_open -= 1
        writer.close()


@contextlib.asynccontextmanager
async def serving(
    handle: Handle, *, host: str = "127.0.0.1", certificates: ssl.SSLContext | None = None
) -> AsyncIterator[Server]:
    answering = Server(handle)
    server = await asyncio.start_server(answering.serve, host, 0, ssl=certificates)
    port = server.sockets[0].getsockname()[1]
    scheme = "https" if certificates else "http"
    answering.url = f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"
    async with server:
        try:
            yield answering
        finally:
            for writer in answering.writers:
                writer.transport.abort()
            await asyncio.sleep(0.01)  # they close in turns of the loop of their own


@contextlib.asynccontextmanager
async def opened(
    server: Server, *, timeout_s: float = LONG_S, n: int = 8, keepalive_s: float = LONG_S
) -> AsyncIterator[Transport]:
    transport = Transport(
        server.url, timeout_s=timeout_s, max_connections=n, keepalive_s=keepalive_s
    )
    async with transport:
        yield transport


async def ask(transport: Transport, content: bytes = b"") -> bytes:
    return (await transport.exchange(b"POST", b"/", (), content)).content


async def echo(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    writer.write(make_answer(body))


async def test_a_request_is_sent_as_it_is_given_and_its_answer_read() -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(make_answer(head.split(b"\r\n")[0] + body, status=b"404 Not Found"))

    async with serving(answer) as server, opened(server) as transport:
        for _ in range(2):
            reply = await transport.exchange(
                b"PUT", b"/a/b%20c?d=%C3%A9", [(b"X-Key", b"k")], b'{"e":1}'
            )
            assert reply.status == 404
            assert (b"Content-Type", b"application/json") in reply.headers
            assert reply.content == b'PUT /a/b%20c?d=%C3%A9 HTTP/1.1{"e":1}'
    lines = server.heads[0].split(b"\r\n")
    assert f"Host: {server.url.removeprefix('http://')}".encode() in lines
    assert b"X-Key: k" in lines
    assert server.n_connections == 1


async def test_requests_at_once_get_their_own_answers_over_a_bounded_number_of_connections() -> (
    None
):
    async with serving(echo) as server, opened(server, n=3) as transport:
        contents = [b"%d" % i for i in range(60)]
        assert await asyncio.gather(*(ask(transport, body) for body in contents)) == contents
        assert server.n_connections == server.most_at_once == 3


@pytest.mark.parametrize("how", [b"Connection: close\r\nContent-Length: 2", b"X: no length"])
async def test_a_connection_that_the_server_ends_is_not_used_again(how: bytes) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n%b\r\n\r\nok" % how)
        writer.close()

    async with serving(answer) as server, opened(server) as transport:
        assert [await ask(transport) for _ in range(3)] == [b"ok"] * 3
        assert server.n_connections == 3


async def test_a_connection_that_was_idle_for_too_long_is_not_used_again() -> None:
    async with serving(echo) as server, opened(server, keepalive_s=0) as transport:
        assert [await ask(transport, b"a"), await ask(transport, b"b")] == [b"a", b"b"]
        assert server.n_connections == 2


@pytest.mark.parametrize("farewell", [b"", b"HTTP/1.1 408 Timeout\r\nContent-Length: 0\r\n\r\n"])
async def test_a_connection_that_the_server_closed_meanwhile_is_not_used_again(
    farewell: bytes,
) -> None:
    async def answer(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(make_answer(body))
        await asyncio.sleep(0.01)
        writer.write(farewell)
        writer.close()

    async with serving(answer) as server, opened(server) as transport:
        for content in (b"a", b"b"):
            assert await ask(transport, content) == content
            await asyncio.sleep(0.05)
        assert server.n_connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"garbage\r\n\r\n",
        make_answer(b"a")[:-1],
        make_answer(b"a") + b"b",
        make_answer(b"a") + make_answer(b"b"),
    ],
)
async def test_a_fault_costs_the_connection_and_nothing_else(answer: bytes) -> None:
    async def fail_once(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(answer)
        writer.close()
        server.handle = echo

    async with serving(fail_once) as server, opened(server, n=1) as transport:
        with pytest.raises(httpx.TransportError):
            await ask(transport, b"first")
        assert await ask(transport, b"second") == b"second"


async def test_a_flood_ends_at_the_limit() -> None:
    async def flood(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n")
        while True:
            writer.write(bytes(2**20))
            await writer.drain()

    async with serving(flood) as server, opened(server) as transport:
        with pytest.raises(httpx.RemoteProtocolError, match="more than 16,777,216 bytes"):
            await ask(transport)


async def answer_after_the_next_one(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
    if body == b"slow":
        await asyncio.sleep(0.1)
    writer.write(make_answer(body))


async def test_who_is_cancelled_leaves_its_answer_to_nobody() -> None:
    async with serving(answer_after_the_next_one) as server, opened(server, n=1) as transport:
        cancelled = asyncio.create_task(ask(transport, b"slow"))
        waits = asyncio.create_task(ask(transport, b"next"))
        await asyncio.sleep(0.05)
        cancelled.cancel()
        assert await waits == b"next"
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        await asyncio.sleep(0.1)
        assert await ask(transport, b"last") == b"last"
        assert server.n_connections == 2


async def test_an_answer_that_comes_too_late_is_given_to_nobody() -> None:
    async with (
        serving(answer_after_the_next_one) as server,
        opened(server, n=1, timeout_s=0.05) as transport,
    ):
        with pytest.raises(httpx.ReadTimeout, match=r"no answer within 0\.05 s"):
            await ask(transport, b"slow")
        assert await ask(transport, b"next") == b"next"


async def test_waiting_for_a_connection_counts() -> None:
    async def hang(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        await asyncio.sleep(LONG_S)

    async with serving(hang) as server, opened(server, n=1, timeout_s=0.3) as transport:
        asked = [ask(transport) for _ in range(16)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        assert {type(outcome) for outcome in outcomes} == {httpx.ReadTimeout}
        assert len(server.heads) < len(asked)  # most never had a connection
        assert await server.readers[0].read() == b""  # closed, though never answered


async def test_a_port_that_nobody_listens_on_cannot_be_connected_to() -> None:
    transport = Transport(f"http://127.0.0.1:{free_port()}", timeout_s=LONG_S, max_connections=1)
    async with transport:
        for _ in range(2):  # the slot is free again
            with pytest.raises(httpx.ConnectError, match="cannot connect"):
                await ask(transport)


async def test_a_server_that_hangs_up_at_once_is_a_fault() -> None:
    async def hang_up(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.transport.abort()

    server = await asyncio.start_server(hang_up, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, Transport(url, timeout_s=LONG_S, max_connections=1) as transport:
        for _ in range(8):
            with pytest.raises(httpx.ReadError, match="closed the connection without an answer"):
                await ask(transport)


async def test_a_connection_in_use_is_closed_after_its_answer() -> None:
    async with serving(answer_after_the_next_one) as server:
        async with opened(server) as transport:
            asked = asyncio.create_task(ask(transport, b"slow"))
            await asyncio.sleep(0.05)
        assert await asked == b"slow"
        assert transport._idle == []


async def test_a_line_break_in_a_header_is_not_sent() -> None:
    async with serving(echo) as server, opened(server) as transport:
        for value in (b"a\r\nX-Forged: b", b"a\nb", b"a\rb"):
            with pytest.raises(httpx.LocalProtocolError):
                await transport.exchange(b"GET", b"/", [(b"X-Key", value)], b"")
        assert server.heads == []


@pytest.mark.parametrize(
    "url", ["", "nonsense", "ftp://example.org", "http://", "http://h:99999", "http://[::1", "\x00"]
)
def test_what_is_no_url_of_http_is_refused_by_its_name(url: str) -> None:
    with pytest.raises(ServiceError) as caught:
        PatientClient(url, timeout_s=1, patience_s=1, max_connections=1, notify=print)
    assert str(caught.value).startswith(f"{url}: ")


@pytest.mark.parametrize(
    ("base", "path", "target"),
    [
        ("", "/next/1", b"/next/1"),
        ("/", "", b"/"),
        ("/under/a/path/", "/next/1", b"/under/a/path/next/1"),
        ("/decision?alpha=0.05", "", b"/decision?alpha=0.05"),
        ("/é", "/train/a b\r\nX: y#z?limit=1", b"/%C3%A9/train/a%20b%0D%0AX:%20y%23z?limit=1"),
    ],
)
async def test_paths_follow_the_services_own_and_are_quoted(
    base: str, path: str, target: bytes
) -> None:
    async with serving(echo) as server:
        client = PatientClient(
            server.url + base, timeout_s=LONG_S, patience_s=0, max_connections=1, notify=print
        )
        async with client:
            await client.get(path)
        assert server.heads[0].split(b"\r\n")[0] == b"GET %b HTTP/1.1" % target


async def test_who_speaks_no_http_is_asked_once() -> None:
    async def speak_something_else(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(b"+PONG\r\n")

    async with serving(speak_something_else) as server:
        client = PatientClient(
            server.url, timeout_s=LONG_S, patience_s=0.3, max_connections=1, notify=print
        )
        async with client:
            with pytest.raises(ServiceError, match=f"^{server.url}/next: does not speak HTTP"):
                await client.post("/next", b"", {})
        assert len(server.heads) == 1


async def test_a_service_that_says_when_to_come_back_is_not_asked_before() -> None:
    async def refuse(writer: asyncio.StreamWriter, head: bytes, body: bytes) -> None:
        writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 9\r\nContent-Length: 0\r\n\r\n")

    async with serving(refuse) as server:
        client = PatientClient(
            server.url, timeout_s=LONG_S, patience_s=0.3, max_connections=1, notify=print
        )
        async with client:
            with pytest.raises(ServiceError, match=r"answered 503; gave up after 0\.3 s"):
                await client.get("/")
        assert len(server.heads) == 2  # at once, and when the patience ends


async def test_an_ipv6_address_is_an_address() -> None:
    if not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    try:
        async with serving(echo, host="::1") as server, opened(server) as transport:
            assert await ask(transport, b"six") == b"six"
            assert b"Host: [::1]:" in server.heads[0]
    except OSError as error:
        pytest.skip(f"no IPv6 here: {error}")


@pytest.mark.parametrize(
    "on_asyncios",
    [
        test_requests_at_once_get_their_own_answers_over_a_bounded_number_of_connections,
        test_a_connection_that_was_idle_for_too_long_is_not_used_again,
        test_who_is_cancelled_leaves_its_answer_to_nobody,
        test_an_answer_that_comes_too_late_is_given_to_nobody,
        test_a_server_that_hangs_up_at_once_is_a_fault,
        test_a_port_that_nobody_listens_on_cannot_be_connected_to,
    ],
)
def test_it_is_the_same_on_the_loop_of_live_sessions(
    on_asyncios: Callable[[], Coroutine[None, None, None]],
) -> None:
    uvloop.run(on_asyncios())


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl here to make a certificate")
    pem = tmp_path / "localhost.pem"
    words = "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
    name = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key.pem"), "-out", str(pem)]
    subprocess.run([openssl, *words.split(), *name, *files], check=True, capture_output=True)
    return pem


async def test_https_is_spoken_with_whom_the_certificates_know(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    own.load_cert_chain(certificate, certificate.with_name("key.pem"))
    async with serving(echo, certificates=own) as server:
        async with opened(server) as transport:
            with pytest.raises(httpx.ConnectError, match="certificate verify failed"):
                await ask(transport)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        async with opened(server) as transport:
            assert [await ask(transport, body) for body in (b"a", b"b")] == [b"a", b"b"]
        assert len(server.heads) == 2
