"""Claim: at most 300 us of client CPU per live step; 8 times the steps of a synchronous client.

python -m benchmarks.simulator_client [--episodes N] [--url URL]

CPU of this process alone: the server is a process of its own that answers without thinking, so
that nothing else is measured; `--url` names a real recommender of the world in the settings
instead, which shows who is the bottleneck. The synchronous stand-ins play the same listeners one
after another with `requests`: by `requests.post`, a connection per step as botify's simulator
does, and by a `Session`, which keeps its connection.
"""

import argparse
import asyncio
import contextlib
import multiprocessing
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import requests

from shared.catalog import Catalog
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.live_session import open_session
from simulator.core.world import World, WorldParameters, make_dynamics, make_world
from simulator.live import Watch, play_episodes, prepare
from simulator.results import Result
from simulator.settings import load_settings

_SEED = 1
_CONCURRENCY = 64
_WARM = 50

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


def play_asynchronously(world: World, dynamics: Dynamics, url: str, n_episodes: int) -> int:
    """Play episodes as `run` does."""
    results: list[Result] = []

    async def play() -> None:
        client = PatientClient(
            url, timeout_s=30, patience_s=5, max_connections=_CONCURRENCY, notify=print
        )
        async with client:
            run_id = str(time.time_ns())
            await play_episodes(
                dynamics,
                RemoteRecommender(client, world.catalog, seed=_SEED, run_id=run_id),
                seed=_SEED,
                episodes=range(n_episodes),
                concurrency=_CONCURRENCY,
                watch=Watch(results.append),
            )

    asyncio.run(play())
    return sum(result.tracks for result in results)


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


def measure(name: str, play: Play, n_episodes: int) -> float:
    """Print and return the client's CPU microseconds per step."""
    play(_WARM)
    wall, cpu = time.perf_counter(), time.process_time()
    n_steps = play(n_episodes)
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    per_step = cpu / n_steps * 1e6
    print(
        f"{name:22} {per_step:7,.0f} us of client CPU per step, {n_steps / wall:6,.0f} steps/s; "
        f"the client used {100 * cpu / wall:.0f}% of one core"
    )
    return per_step


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--episodes", type=int, default=2_000)
    parser.add_argument("--url", help="of a real recommender, that serves the settings' world")
    arguments = parser.parse_args()
    world = load_world(load_settings().world) if arguments.url else make_world(WorldParameters())
    dynamics = make_dynamics(world)
    prepare(dynamics, _SEED, np.arange(arguments.episodes))
    stub = (
        contextlib.nullcontext(arguments.url)
        if arguments.url
        else tiny_server(len(dynamics.embeddings))
    )
    with stub as url, requests.Session() as session:

        def ours(n: int) -> int:
            return play_asynchronously(world, dynamics, url, n)

        def theirs(post: Callable[..., Any]) -> Play:
            return lambda n: play_synchronously(post, world.catalog, dynamics, url, n)

        per_step = measure("64 sessions at once", ours, arguments.episodes)
        if arguments.url:
            return
        few = max(1, arguments.episodes // 10)
        for name, post in (("requests.post", requests.post), ("requests.Session", session.post)):
            other = measure(name, theirs(post), few)
            print(f"{'':22} {other / per_step:7.1f} times as much")


if __name__ == "__main__":
    main()
