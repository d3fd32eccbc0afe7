"""A recommender beside a real Valkey that tests may slow down, stop and start."""

import asyncio
import contextlib
import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from redis import Redis as SyncRedis

from deploy.local.servers import ValkeyServer
from services.recommender.app import create_app
from shared.event_stream import FIELD, STREAM_KEY
from shared.events import Event, decode_event
from tests.conftest import free_port, wait_for_port
from tests.unit.recommender.factories import FIRST_ID, make_settings


class OwnValkey:
    """A Valkey that a test may kill and start again; it forgets everything."""

    def __init__(self, folder: Path) -> None:
        """Choose a port."""
        self.server = ValkeyServer(port=free_port(), folder=folder)
        self._process: subprocess.Popen[bytes] | None = None

    def open(self) -> SyncRedis:
        """Open a connection to it."""
        return SyncRedis(port=self.server.port)

    def freeze(self) -> None:
        """Let it say nothing more, as a machine without power; its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def start(self) -> None:
        """Start it, empty."""
        self.server.prepare()
        command = [*self.server.command(), "--appendonly", "no"]
        self._process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        wait_for_port(self.server.port, self._process)

    def kill(self) -> None:
        """Kill it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class Proxy:
    """A TCP proxy in front of a server; its answers can be held back."""

    def __init__(self, target: int) -> None:
        """Forward to a local port."""
        self.port = 0
        self.is_open = asyncio.Event()
        self.is_open.set()
        self._target = target
        self._n_until_held: int | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def move_to(self, target: int) -> None:
        """Forward connections that are made from now on to another server."""
        self._target = target

    def hold_after(self, n: int) -> None:
        """Let n more answers pass, then hold back."""
        self._n_until_held = n

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Proxy"]:
        """Forward until the block ends."""
        server = await asyncio.start_server(self._forward, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        self._tasks.add(task)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            behind, ahead = await asyncio.open_connection("127.0.0.1", self._target)
            try:
                await asyncio.gather(self._pump(reader, ahead), self._pump(behind, writer, True))
            finally:
                ahead.close()
                writer.close()

    def _count_down(self) -> None:
        if self._n_until_held == 0:
            self.is_open.clear()
            self._n_until_held = None
        elif self._n_until_held is not None:
            self._n_until_held -= 1

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_held: bool = False
    ) -> None:
        while data := await reader.read(65_536):
            if is_held:
                self._count_down()
                await self.is_open.wait()
            writer.write(data)
            await writer.drain()
        writer.close()


@dataclass(frozen=True)
class Service:
    """A running recommender and a client of it."""

    client: httpx.AsyncClient
    url: str

    async def next(self, user: int, track: int = FIRST_ID, **options: Any) -> httpx.Response:
        """Report a playback."""
        body = {"track": track, "time": 0.5}
        return await self.client.post(f"/next/{user}", json=body, **options)

    async def last(self, user: int, track: int = FIRST_ID, **options: Any) -> httpx.Response:
        """Close a session."""
        body = {"track": track, "time": 0.5}
        return await self.client.post(f"/last/{user}", json=body, **options)

    def events(self) -> list[Event]:
        """Return all events so far."""
        with SyncRedis.from_url(self.url) as redis:
            return [decode_event(fields[FIELD]) for _, fields in redis.xrange(STREAM_KEY)]


@contextlib.asynccontextmanager
async def serving(folder: Path, url: str, **changes: Any) -> AsyncIterator[Service]:
    """Run a recommender in this process."""
    settings = make_settings(folder, **{"redis_url": url, "poll_s": 0.05, **changes})
    async with LifespanManager(create_app(settings)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Service(client, url)


@pytest.fixture
async def service(redis: object, valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[Service]:
    """Return a recommender beside the shared, empty Valkey; its deadline is out of the way."""
    async with serving(tmp_path, valkey.url, deadline_s=5) as running:
        yield running


@pytest.fixture
def own_valkey(tmp_path: Path) -> Iterator[OwnValkey]:
    """Return a started Valkey of the test's own."""
    own = OwnValkey(tmp_path / "valkey")
    own.start()
    yield own
    own.kill()


async def until(condition: Any, *, timeout_s: float = 10) -> None:
    """Wait until an awaitable condition holds."""
    async with asyncio.timeout(timeout_s):
        while not await condition():  # noqa: ASYNC110 - another process cannot set an event
            await asyncio.sleep(0.02)
