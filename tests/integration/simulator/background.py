"""Services in a thread of their own, so that a test can run a whole command against them."""

import asyncio
import contextlib
import threading
from collections.abc import Awaitable, Callable, Iterator

from aiohttp.test_utils import TestServer

# What a server that misbehaves does with a connection, once a user's request has come.
Fault = Callable[[asyncio.StreamWriter, int], Awaitable[None]]


@contextlib.contextmanager
def in_background(service: contextlib.AbstractAsyncContextManager[object]) -> Iterator[None]:
    """Run a service in an event loop of its own until the block ends."""
    is_ready = threading.Event()
    ends: list[Callable[[], object]] = []

    async def run() -> None:
        end = asyncio.Event()
        async with service:
            loop = asyncio.get_running_loop()
            ends.append(lambda: loop.call_soon_threadsafe(end.set))
            is_ready.set()
            await end.wait()

    thread = threading.Thread(target=asyncio.run, args=(run(),))
    thread.start()
    try:
        assert is_ready.wait(10)
        yield
    finally:
        ends[0]()
        thread.join()


@contextlib.contextmanager
def serving(server: TestServer) -> Iterator[str]:
    """Serve; gives the URL."""
    with in_background(server):
        yield str(server.make_url("/")).rstrip("/")


class Misbehaving:
    """Answers some requests as a recommender does, every later one with a fault.

    Attributes:
        url: Where it answers, once it runs.
        n_requests: That came.
    """

    def __init__(self, fault: Fault, *, n_good: int, n_tracks: int) -> None:
        self.url = ""
        self.n_requests = 0
        self._fault = fault
        self._n_good = n_good
        self._n_tracks = n_tracks
        self._writers: list[asyncio.StreamWriter] = []

    async def __aenter__(self) -> "Misbehaving":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # they close in turns of the loop of their own

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                await reader.readexactly(int(head.partition(b"content-length:")[2].split()[0]))
                user = int(head.split()[1].rsplit(b"/")[-1])
                self.n_requests += 1
                if self.n_requests > self._n_good:
                    await self._fault(writer, user)
                    break
                track = self.n_requests * 7 % self._n_tracks
                writer.write(make_answer(b'{"user":%d,"track":%d}' % (user, track)))
        writer.close()


def make_answer(
    body: bytes, *, status: bytes = b"200 OK", kind: bytes = b"application/json"
) -> bytes:
    """Make a whole HTTP answer."""
    head = b"HTTP/1.1 %s\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n"
    return head % (status, kind, len(body)) + body
