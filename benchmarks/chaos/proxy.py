"""A TCP proxy whose replies can be delayed: a slow Redis, without touching Redis."""

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

_CHUNK = 65_536


@dataclass
class DelayProxy:
    """Forwards a local port to another, in a thread of its own.

    Attributes:
        port: Where it listens.
        target: Where it forwards to.
        delay_s: How late replies arrive; may be changed at any time.
    """

    port: int
    target: int
    delay_s: float = 0.0
    _tasks: set["asyncio.Task[None]"] = field(default_factory=set)

    @contextlib.contextmanager
    def running(self) -> Iterator["DelayProxy"]:
        """Forward until the block ends."""
        loop = asyncio.new_event_loop()
        server = loop.run_until_complete(
            asyncio.start_server(self._forward, "127.0.0.1", self.port)
        )
        thread = threading.Thread(target=loop.run_forever, name="proxy", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            asyncio.run_coroutine_threadsafe(self._close(server), loop).result(10)
            loop.call_soon_threadsafe(loop.stop)
            thread.join()
            loop.close()

    async def _close(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        with contextlib.suppress(OSError, asyncio.CancelledError):
            try:
                behind, ahead = await asyncio.open_connection("127.0.0.1", self.target)
            except OSError:  # the target is away: so are we
                writer.close()
                return
            pumps = [
                asyncio.create_task(self._pump(reader, ahead, is_reply=False)),
                asyncio.create_task(self._pump(behind, writer, is_reply=True)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
                ahead.close()
                writer.close()

    async def _pump(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, is_reply: bool
    ) -> None:
        """Move bytes, each as late as the delay was when it came: latency, not throughput."""
        loop = asyncio.get_running_loop()
        on_the_way: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            while True:
                due_s, data = await on_the_way.get()
                if (wait_s := due_s - loop.time()) > 0:
                    await asyncio.sleep(wait_s)
                writer.write(data)
                await writer.drain()

        delivery = asyncio.create_task(deliver())
        try:
            while data := await reader.read(_CHUNK):
                on_the_way.put_nowait((loop.time() + (self.delay_s if is_reply else 0.0), data))
        finally:
            delivery.cancel()
            await asyncio.gather(delivery, return_exceptions=True)
