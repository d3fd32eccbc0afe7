"""Claim: a live step costs less than an eighth of the CPU of botify's client.

python -m benchmarks.simulator_client [--episodes N] [--rounds N] [--url URL]

CPU of this process alone: the server is a process of its own that answers without thinking, so
that nothing else is measured; `--url` names a real recommender of the world in the settings
instead, which shows who is the bottleneck. What is compared takes turns, and each figure is the
median of its rounds.

The stand-ins for botify's simulator play the same listeners one after another: by `requests.post`,
a connection per step, as its `RemoteRecommender` does, and by a `Session`, which keeps its
connection. Two rows say what a step is made of: listeners without a service, and exchanges over our
transport that know no listener. The same exchanges by aiohttp's client are below what any step over
it could cost.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import statistics
import time
from collections.abc import AsyncIterator, Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import aiohttp
import numpy as np
import requests
import uvloop

from shared.catalog import Catalog
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.adapters.transport import Transport
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.live_session import open_session
from simulator.core.world import World, WorldParameters, make_dynamics, make_world
from simulator.live import LocalRandom, Recommender, Watch, play_episodes, prepare
from simulator.results import Result
from simulator.settings import load_settings

_SEED = 1
_CONCURRENCY = 64

Play = Callable[[int], int]  # plays so many episodes and returns their steps


class _TinyServer(asyncio.Protocol):
    """Just enough HTTP: answers a track for every POST."""

    n_tracks = 1
    track = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.buffer = b""

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, separator, body = self.buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(body) < length:
            return
        self.buffer = body[length:]
        user = head.split(b" ")[1].rsplit(b"/")[-1]
        _TinyServer.track = (_TinyServer.track + 7_919) % self.n_tracks
        answer = b'{"user":%s,"track":%d}' % (user, _TinyServer.track)
        assert isinstance(self.transport, asyncio.Transport)
        self.transport.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
            % (len(answer), answer)
        )


def serve(n_tracks: int, port: Connection) -> None:
    """Serve until the process is stopped; tell the port."""

    async def run() -> None:
        _TinyServer.n_tracks = n_tracks
        server = await asyncio.get_running_loop().create_server(_TinyServer, "127.0.0.1", 0)
        port.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    asyncio.run(run())


@contextlib.contextmanager
def tiny_server(n_tracks: int) -> Iterator[str]:
    """Run the server in a process of its own; gives its URL."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(n_tracks, theirs), daemon=True)
    server.start()
    try:
        yield f"http://127.0.0.1:{ours.recv()}"
    finally:
        server.terminate()
        server.join()


@contextlib.asynccontextmanager
async def open_remote(world: World, url: str) -> AsyncIterator[Recommender]:
    """Open the recommender that `run` asks."""
    client = PatientClient(
        url, timeout_s=30, patience_s=5, max_connections=_CONCURRENCY, notify=print
    )
    async with client:
        yield RemoteRecommender(client, world.catalog, seed=_SEED, run_id=str(time.time_ns()))


def play_asynchronously(
    dynamics: Dynamics,
    recommender: contextlib.AbstractAsyncContextManager[Recommender],
    n_episodes: int,
) -> int:
    """Play episodes as `run` does."""
    results: list[Result] = []

    async def play() -> None:
        async with recommender as opened:
            await play_episodes(
                dynamics,
                opened,
                seed=_SEED,
                episodes=range(n_episodes),
                concurrency=_CONCURRENCY,
                watch=Watch(results.append),
            )

    uvloop.run(play())
    return sum(result.tracks for result in results)


def post_barely(url: str, n_steps: int) -> int:
    """Post the same step again and again with aiohttp's own client, and read the answers."""
    headers = {"Content-Type": "application/json", "Idempotency-Key": "1:0:0:bare"}

    async def play() -> None:
        left = iter(range(n_steps))
        connector = aiohttp.TCPConnector(limit=_CONCURRENCY)
        jar = aiohttp.DummyCookieJar()
        async with aiohttp.ClientSession(connector=connector, cookie_jar=jar) as session:

            async def work() -> None:
                for _ in left:
                    step = b'{"track":1,"time":0.5}'
                    async with session.post(f"{url}/next/1", data=step, headers=headers) as answer:
                        await answer.read()

            await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))

    uvloop.run(play())
    return n_steps


def exchange_barely(url: str, n_steps: int) -> int:
    """Exchange the same step again and again over our transport."""
    headers = {b"Content-Type": b"application/json", b"Idempotency-Key": b"1:0:0:bare"}

    async def play() -> None:
        left = iter(range(n_steps))
        async with Transport(url, timeout_s=30, max_connections=_CONCURRENCY) as transport:

            async def work() -> None:
                for _ in left:
                    step = b'{"track":1,"time":0.5}'
                    await transport.exchange(b"POST", b"/next/1", headers.items(), step)

            await asyncio.gather(*(work() for _ in range(_CONCURRENCY)))

    uvloop.run(play())
    return n_steps


def play_synchronously(
    post: Callable[..., Any], catalog: Catalog, dynamics: Dynamics, url: str, n_episodes: int
) -> int:
    """Play episodes one after another, each step a blocking request."""
    n_steps = 0
    for episode in range(n_episodes):
        session = open_session(dynamics, _SEED, episode)
        while True:
            path = "last" if session.is_over else "next"
            body = {"track": int(catalog.track_ids[session.track]), "time": session.time}
            answer = post(f"{url}/{path}/{session.user}", json=body)
            answer.raise_for_status()
            n_steps += 1
            if path == "last":
                break
            session.listen(catalog.row_of[answer.json()["track"]])
    return n_steps


def measure(play: Play, n: int) -> tuple[float, float, float]:
    """Return CPU microseconds per step, steps per second, and the share of a core that was used."""
    wall, cpu = time.perf_counter(), time.process_time()
    n_steps = play(n)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    return cpu / n_steps * 1e6, n_steps / wall, cpu / wall


def compare(plays: dict[str, tuple[Play, int]], n_rounds: int) -> None:
    """Measure in turns and print each one's median.

    Args:
        plays: What to measure and how much of it, per name; the first is compared with.
        n_rounds: Turns of each.
    """
    rounds: dict[str, list[tuple[float, float, float]]] = {name: [] for name in plays}
    for play, n in plays.values():
        play(max(1, n // 10))  # connections, caches
    for _ in range(n_rounds):
        for name, (play, n) in plays.items():
            rounds[name].append(measure(play, n))
    ours = statistics.median(cost for cost, _, _ in rounds[next(iter(plays))])
    print(f"{'':24} CPU us/step (lowest)     ratio   steps/s   of one core")
    for name, measured in rounds.items():
        cost, pace, share = (statistics.median(column) for column in zip(*measured, strict=True))
        lowest = min(cost for cost, _, _ in measured)
        print(f"{name:24} {cost:11,.0f} ({lowest:,.0f})".ljust(45), end=" ")
        print(f"{cost / ours:9.2f} {pace:9,.0f} {share:12.0%}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=400, help="of our client in a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--url", help="of a real recommender, that serves the settings' world")
    arguments = parser.parse_args()
    world = load_world(load_settings().world) if arguments.url else make_world(WorldParameters())
    dynamics = make_dynamics(world)
    prepare(dynamics, _SEED, np.arange(arguments.episodes))
    n_tracks = len(dynamics.embeddings)
    stub = contextlib.nullcontext(arguments.url) if arguments.url else tiny_server(n_tracks)
    with stub as url, requests.Session() as session:

        def ours(n: int) -> int:
            return play_asynchronously(dynamics, open_remote(world, url), n)

        def alone(n: int) -> int:
            local = contextlib.nullcontext[Recommender](LocalRandom(n_tracks))
            return play_asynchronously(dynamics, local, n)

        def theirs(post: Callable[..., Any]) -> Play:
            return lambda n: play_synchronously(post, world.catalog, dynamics, url, n)

        few = max(1, arguments.episodes // 8)
        plays: dict[str, tuple[Play, int]] = {"64 sessions at once": (ours, arguments.episodes)}
        if not arguments.url:
            plays |= {
                "listeners alone": (alone, arguments.episodes),
                "bare exchange": (lambda n: exchange_barely(url, n), 7 * arguments.episodes),
                "bare aiohttp": (lambda n: post_barely(url, n), 7 * arguments.episodes),
                "requests.post, as botify": (theirs(requests.post), few),
                "requests.Session": (theirs(session.post), few),
            }
        compare(plays, arguments.rounds)


if __name__ == "__main__":
    main()
