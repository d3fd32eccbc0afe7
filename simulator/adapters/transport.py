"""HTTP to one service, over connections that are kept."""

import asyncio
from collections.abc import Collection
from typing import Self

import httpx

from simulator.adapters.connection import Connection, Reply
from simulator.adapters.deadlines import Deadlines

_KEEPALIVE_S = 4.0  # less than uvicorn's 5, so that no service closes a connection as we use it
_MOST_PORT = 2**16 - 1


class Transport:
    """Exchanges requests for answers; any number at once, each on a connection of its own."""

    def __init__(
        self,
        url: str | httpx.URL,
        *,
        timeout_s: float,
        max_connections: int,
        keepalive_s: float = _KEEPALIVE_S,
    ) -> None:
        """Connect to nothing yet.

        Args:
            url: Of the service; its path does not matter.
            timeout_s: Of an exchange, all in all: waiting for a connection, connecting, the answer.
            max_connections: At once; further exchanges wait.
            keepalive_s: How long a connection may be idle and still be used.

        Raises:
            httpx.InvalidURL: If it is none, or its port is.
            httpx.UnsupportedProtocol: If it is of another scheme than http and https.
        """
        self._url = httpx.URL(url)
        if self._url.scheme not in ("http", "https") or not self._url.host:
            raise httpx.UnsupportedProtocol("not a URL that begins with http:// or https://")
        is_safe = self._url.scheme == "https"
        self._certificates = httpx.create_ssl_context() if is_safe else None
        self._port = self._url.port or (443 if is_safe else 80)
        if self._port > _MOST_PORT:
            raise httpx.InvalidURL(f"no port {self._port}")
        self._timeout_s = timeout_s
        self._keepalive_s = keepalive_s
        self._deadlines = Deadlines(timeout_s)
        self._slots = asyncio.Semaphore(max_connections)
        self._idle: list[Connection] = []  # the one used last is used next
        self._is_closed = False

    async def exchange(
        self,
        method: bytes,
        target: bytes,
        headers: Collection[tuple[bytes, bytes]],
        content: bytes,
    ) -> Reply:
        """Send a request and read its answer; once, whatever happens.

        Args:
            method: Any but HEAD and CONNECT, whose answers end otherwise.
            target: Path and query, quoted.
            headers: But for those of the connection and the length.
            content: Its body.

        Raises:
            httpx.TransportError: `ConnectError`, `ReadError` if the connection closes before the
                answer's end, `ReadTimeout`, or `RemoteProtocolError` if the answer is no HTTP.
        """
        request = self._write(method, target, headers, content)
        try:
            with self._deadlines:
                async with self._slots:
                    connection = self._take() or await self._connect()
                    try:
                        reply = await connection.ask(request)
                    except BaseException:
                        connection.drop()
                        raise
                    self._keep(connection)
                    return reply
        except TimeoutError as error:
            raise httpx.ReadTimeout(f"no answer within {self._timeout_s:g} s") from error

    async def __aenter__(self) -> Self:
        """Be closed at the block's end."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close the connections."""
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections; one in use once its exchange ends."""
        self._is_closed = True
        self._deadlines.close()
        for connection in self._idle:
            connection.drop()
        self._idle.clear()
        await asyncio.sleep(0)  # they close in a turn of the loop of their own

    def _write(
        self,
        method: bytes,
        target: bytes,
        headers: Collection[tuple[bytes, bytes]],
        content: bytes,
    ) -> bytes:
        lines = b"".join([b"%b: %b\r\n" % header for header in headers])
        if not lines.count(b"\n") == lines.count(b"\r") == len(headers):
            raise httpx.LocalProtocolError("a header has a line break in it")
        return b"%b %b HTTP/1.1\r\nHost: %b\r\n%bContent-Length: %d\r\n\r\n%b" % (
            *(method, target, self._url.netloc, lines),
            *(len(content), content),
        )

    def _take(self) -> Connection | None:
        oldest_s = asyncio.get_running_loop().time() - self._keepalive_s
        while self._idle:
            connection = self._idle.pop()
            if connection.is_reusable and connection.idle_since_s > oldest_s:
                return connection
            connection.drop()
        return None

    def _keep(self, connection: Connection) -> None:
        if self._is_closed:
            connection.drop()
            return
        connection.idle_since_s = asyncio.get_running_loop().time()
        self._idle.append(connection)

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        try:
            _, connection = await loop.create_connection(
                lambda: Connection(loop),
                self._url.raw_host.decode(),
                self._port,
                ssl=self._certificates,
            )
        except OSError as error:
            raise httpx.ConnectError(f"cannot connect: {error.strerror or error}") from error
        return connection
