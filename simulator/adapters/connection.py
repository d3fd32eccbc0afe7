"""One HTTP/1.1 connection: a request, its answer, then the next request."""

import asyncio
from typing import cast

import httptools
import httpx
import msgspec

_MOST_HEAD, _MOST_BYTES = 2**16, 2**24  # of one answer, interim answers counted
_FIRST_FINAL_STATUS = 200
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})

Headers = list[tuple[bytes, bytes]]


class Reply(msgspec.Struct, gc=False):
    """A whole answer; headers as they came."""

    status: int
    headers: Headers
    content: bytes


class Connection(asyncio.Protocol):
    """Sends a request in one piece and reads its answer; `on_...` is what the parser calls.

    A future for an answer is all that it costs: no task, stream or buffer of its own. Whoever waits
    for an answer and does not get it (cancelled, timed out, an error) drops the connection, since
    the answer may still come.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        """Be ready for what `create_connection` connects."""
        self.idle_since_s = 0.0
        self._loop = loop
        self._parser = httptools.HttpResponseParser(self)
        self._waiter: asyncio.Future[Reply] | None = None
        self._keeps_alive = True

    @property
    def is_reusable(self) -> bool:
        """Whether another request may be sent, now that the last one is answered."""
        return self._keeps_alive and not self._transport.is_closing()

    def ask(self, request: bytes) -> asyncio.Future[Reply]:
        """Send a request; the connection has no other under way.

        Returns:
            The answer to come, or `httpx.ReadError` if the connection closes before its end, or
            `httpx.RemoteProtocolError` if it is none.

        Raises:
            httpx.ReadError: If the connection is closed already.
        """
        if self._transport.is_closing():  # of which nobody would tell us again
            raise httpx.ReadError("closed the connection without an answer")
        self._status = self._n_bytes = 0
        self._headers: Headers = []
        self._parts: list[bytes] = []
        self._is_complete = self._has_excess = False
        self._waiter = self._loop.create_future()
        self._transport.write(request)
        return self._waiter

    def drop(self) -> None:
        """Close at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Connected."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Read on."""
        if self._waiter is None or self._waiter.done():  # nobody asked, or nobody waits any more
            self.drop()
            return
        self._n_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._fail("switches to another protocol")
        except httptools.HttpParserError as error:
            self._has_excess = self._is_complete
            self._check(f"does not speak HTTP: {error}")
        else:
            self._check("")

    def connection_lost(self, exc: Exception | None) -> None:
        """Closed by either side; an answer without a length ends so."""
        if self._waiter is None or self._waiter.done():
            return
        names = {name.lower() for name, _ in self._headers}
        if exc is None and self._status and not names & _FRAMING:
            self._finish()
        else:
            how = "within its answer" if self._n_bytes else "without an answer"
            self._waiter.set_exception(httpx.ReadError(f"closed the connection {how}"))

    def on_message_begin(self) -> None:
        """Another answer begins: after an interim one, or unasked."""
        self._has_excess = self._is_complete

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header has come."""
        self._headers.append((name, value))

    def on_headers_complete(self) -> None:
        """The head has come."""
        self._status = self._parser.get_status_code()

    def on_body(self, part: bytes) -> None:
        """Some of the body has come."""
        self._parts.append(part)

    def on_message_complete(self) -> None:
        """The answer has come, or an interim one that another follows."""
        if self._status >= _FIRST_FINAL_STATUS:
            self._is_complete = True
            self._keeps_alive = self._parser.should_keep_alive()
        else:
            self._status = 0
            self._headers.clear()

    def _check(self, fault: str) -> None:
        if self._has_excess:
            self._fail("sends more than one answer, or more than its Content-Length says")
        elif fault:
            self._fail(fault)
        elif self._n_bytes > _MOST_BYTES:
            self._fail(f"sends more than {_MOST_BYTES:,} bytes")
        elif self._is_complete:
            self._finish()
        elif not self._status and self._n_bytes > _MOST_HEAD:
            self._fail(f"sends headers of more than {_MOST_HEAD:,} bytes")

    def _finish(self) -> None:
        waiter = cast("asyncio.Future[Reply]", self._waiter)
        waiter.set_result(Reply(self._status, self._headers, b"".join(self._parts)))
        self._waiter = None

    def _fail(self, fault: str) -> None:
        waiter = cast("asyncio.Future[Reply]", self._waiter)
        waiter.set_exception(httpx.RemoteProtocolError(fault))
        self._waiter = None
