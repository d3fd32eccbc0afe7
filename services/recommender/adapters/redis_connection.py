"""One Redis connection that all requests share: commands are pipelined, replies come in order.

redis-py takes a connection per command, and sends through `asyncio.wait_for`, which swallows a
cancellation that comes as the write ends (until Python 3.12): with it, a request's deadline. Here a
deadline ends the wait, whatever the connection does, and a reply that nobody waits for any more is
dropped at its turn.
"""

import asyncio
import ssl
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol, cast

import hiredis
from redis.asyncio.connection import SSLConnection, parse_url
from redis.exceptions import ResponseError

Word = bytes | str | int | float

# Of a server that is no primary any more, or whose replica has lost its primary: whoever has its
# place is found by connecting again. Scripts of Redis 6 have the first in the middle of a sentence.
_DEMOTED = ("READONLY ", "MASTERDOWN ")


class RedisCommands(Protocol):
    """What the session store asks of Redis, be it one server or a cluster."""

    async def execute(self, *words: Word) -> Any:
        """Send a command and wait for its reply, bytes undecoded.

        Raises:
            ResponseError: If Redis refuses the command.
            OSError: If it cannot be reached, or is lost before it replies.
        """

    def close(self) -> None:
        """Let go of connections."""


class RedisConnection:
    """Connects when the first command comes, and again after the connection was lost."""

    def __init__(self, url: str) -> None:
        """Read the URL: `redis://` or `rediss://`, with user, password and database if any.

        What it may say of TLS (`?ssl_ca_certs=`, ...) is what redis-py reads.

        Raises:
            ValueError: If it is not such a URL.
            OSError: If a file that it names cannot be used.
        """
        options = parse_url(url)
        if "path" in options:
            raise ValueError("a Redis behind a Unix socket is not supported")
        self.host: str = options.get("host", "127.0.0.1")
        self._port: int = options.get("port", 6379)
        self._tls = _make_tls_context(options)
        self._greeting: list[tuple[Word, ...]] = []
        if options.get("password"):
            self._greeting.append(
                ("AUTH", options.get("username") or "default", options["password"])
            )
        if options.get("db"):
            self._greeting.append(("SELECT", options["db"]))
        self._link: _Link | None = None
        self._connecting = asyncio.Lock()

    async def execute(self, *words: Word) -> Any:
        """Send a command and wait for its reply, bytes undecoded.

        Raises:
            ResponseError: If Redis refuses the command.
            OSError: If it cannot be reached, or is lost before it replies.
        """
        link = self._link
        if link is None or link.is_lost:
            link = await self._connect()
        return await link.execute(words)

    async def execute_asking(self, *words: Word) -> Any:
        """Do the same for a key that is on its way to this node of a cluster."""
        link = self._link
        if link is None or link.is_lost:
            link = await self._connect()
        link.send_unheard(("ASKING",))  # it holds for the command after it
        return await link.execute(words)

    def close(self) -> None:
        """Let go of the connection; a later command connects again."""
        if self._link is not None:
            self._link.abort()

    async def _connect(self) -> "_Link":
        async with self._connecting:
            if self._link is not None and not self._link.is_lost:
                return self._link  # another command was quicker
            loop = asyncio.get_running_loop()
            _, link = await loop.create_connection(
                lambda: _Link(loop.time), self.host, self._port, ssl=self._tls
            )
            try:
                for words in self._greeting:
                    await link.execute(words)
            except BaseException:
                link.abort()
                raise
            self._link = link
            return link


def _make_tls_context(options: dict[str, Any]) -> ssl.SSLContext | None:
    """Make what redis-py makes of the options, so that one URL means the same everywhere."""
    if options.pop("connection_class", None) is not SSLConnection:
        return None
    return cast("ssl.SSLContext", SSLConnection(**options).ssl_context.get())


class _Link(asyncio.Protocol):
    """A connection while it lasts."""

    def __init__(self, seconds: Callable[[], float]) -> None:
        self.is_lost = False
        self._seconds = seconds
        self._heard_at = seconds()
        self._reader = hiredis.Reader(replyError=ResponseError)
        self._unsent: list[bytes] = []
        self._waiting: deque[asyncio.Future[Any]] = deque()
        self._transport: asyncio.Transport | None = None

    async def execute(self, words: tuple[Word, ...]) -> Any:
        if self._transport is None or self.is_lost:
            raise ConnectionResetError("the connection to Redis was lost")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[Any] = loop.create_future()
        self._waiting.append(reply)
        packed = hiredis.pack_command(words)  # type: ignore[arg-type]  # its stub says 1-tuple
        if not self._unsent:
            loop.call_soon(self._flush)  # one system call for all that this turn of the loop sends
        self._unsent.append(packed)
        sent_at = self._seconds()
        try:
            return await reply
        except asyncio.CancelledError:
            # Silence since then: the other end may be gone without a word. A slow Redis that
            # still answers others keeps its connection.
            if self._heard_at < sent_at:
                self.abort()
            raise

    def send_unheard(self, words: tuple[Word, ...]) -> None:
        """Send a command, before the next one, whose reply is dropped."""
        nobody: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        nobody.set_result(None)
        self._waiting.append(nobody)
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self._flush)
        self._unsent.append(hiredis.pack_command(words))  # type: ignore[arg-type]

    def _flush(self) -> None:
        if self._transport is not None and not self.is_lost:
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()

    def abort(self) -> None:
        self.is_lost = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)  # uvloop's does not derive from it

    def data_received(self, data: bytes) -> None:
        self._heard_at = self._seconds()
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                waiting = self._waiting.popleft()
                if waiting.done():
                    continue
                if isinstance(reply, Exception):
                    waiting.set_exception(self._understand(reply))
                else:
                    waiting.set_result(reply)
        except (hiredis.ProtocolError, IndexError):  # no Redis: garbage, or unasked for
            self.abort()

    def _understand(self, refusal: Exception) -> Exception:
        """Return what a refused command's caller is told; a replica's link is of no more use."""
        if not any(word in str(refusal) for word in _DEMOTED):
            return refusal
        self.abort()
        return ConnectionResetError(f"no primary at the other end: {refusal}")

    def connection_lost(self, error: Exception | None) -> None:
        self.is_lost = True
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(ConnectionResetError("the connection to Redis was lost"))
        self._waiting.clear()
