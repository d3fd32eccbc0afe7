"""Claim: in process, over 20,000 sessions/s per core; over HTTP, the client is not the limit.

python -m benchmarks.simulator_speed [--sessions N] [--episodes N]

The world has 50,000 tracks and 10,000 users. Rates are per CPU second, the first tracks already
found. The plain loop is the tests' reference: one session, one track at a time. The HTTP server is
a process of its own that answers without thinking.
"""

import argparse
import asyncio
import multiprocessing
import time
from multiprocessing.connection import Connection

import numpy as np

from simulator.adapters.patient_http import PatientClient
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.core.dynamics import Dynamics
from simulator.core.policies import Policy, Random, StickyArtist
from simulator.core.world import World, WorldParameters, make_dynamics, make_world
from simulator.live import Watch, play_episodes, prepare
from simulator.results import Result
from simulator.rollout import simulate_sessions
from tests.unit.simulator.reference import ReferenceSession, play_reference, recommend_random

_N_PLAIN = 500
_SEED = 1


class PlainSession(ReferenceSession):
    """A reference session whose first tracks are already found, as the batch's are."""

    def find_nearest(self, interest_row: int) -> list[int]:
        """Look the nearest tracks up."""
        rows = np.array([interest_row], dtype=np.int32)
        return [int(row) for row in self.dynamics.nearest.find(rows)[0]]


def measure_policy(dynamics: Dynamics, policy: Policy, n_sessions: int) -> float:
    """Return sessions per CPU second."""
    started = time.process_time()
    simulate_sessions(dynamics, policy, seed=_SEED, episodes=np.arange(n_sessions))
    return n_sessions / (time.process_time() - started)


def measure_plain(dynamics: Dynamics) -> float:
    """Return sessions per CPU second of the plain loop, with random tracks."""
    started = time.process_time()
    for episode in range(_N_PLAIN):
        play_reference(
            dynamics, recommend_random, seed=_SEED, episode=episode, session_type=PlainSession
        )
    return _N_PLAIN / (time.process_time() - started)


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


async def play_live(world: World, dynamics: Dynamics, *, url: str, n_episodes: int) -> list[Result]:
    """Play episodes against a service, 64 at a time."""
    results: list[Result] = []
    client = PatientClient(
        url, timeout_s=5, patience_s=5, max_connections=64, notify=lambda _: None
    )
    async with client:
        await play_episodes(
            dynamics,
            RemoteRecommender(client, world.catalog, seed=_SEED, run_id="benchmark"),
            seed=_SEED,
            episodes=range(n_episodes),
            concurrency=64,
            watch=Watch(results.append),
        )
    return results


def measure_http(world: World, dynamics: Dynamics, n_episodes: int) -> tuple[float, float]:
    """Return the client's CPU microseconds per request, and requests per second."""
    prepare(dynamics, _SEED, np.arange(n_episodes))
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    server = context.Process(target=serve, args=(len(world.catalog), theirs), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{ours.recv()}"
    asyncio.run(play_live(world, dynamics, url=url, n_episodes=50))  # warm
    wall, cpu = time.perf_counter(), time.process_time()
    results = asyncio.run(play_live(world, dynamics, url=url, n_episodes=n_episodes))
    cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
    server.terminate()
    n_requests = sum(result.tracks for result in results)
    return cpu / n_requests * 1e6, n_requests / wall


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    parser.add_argument("--episodes", type=int, default=2_000)
    arguments = parser.parse_args()
    started = time.perf_counter()
    world = make_world(WorldParameters())
    print(f"world of 50,000 tracks and 10,000 users made in {time.perf_counter() - started:.1f} s")
    dynamics = make_dynamics(world)
    started = time.process_time()
    prepare(dynamics, _SEED, np.arange(arguments.sessions))
    print(f"first tracks of {arguments.sessions:,} sessions: {time.process_time() - started:.1f} s")
    plain = measure_plain(dynamics)
    print(f"plain loop        {plain:>9,.0f} sessions/s")
    for policy in (Random(dynamics.n_tracks), StickyArtist(dynamics.artist_rows)):
        rate = measure_policy(dynamics, policy, arguments.sessions)
        print(f"{policy.name:17} {rate:>9,.0f} sessions/s, {rate / plain:.0f} times the plain loop")
    cpu_us, rate = measure_http(world, dynamics, arguments.episodes)
    print(f"over HTTP         {cpu_us:>9,.0f} us of client CPU per step; {rate:,.0f} steps/s")


if __name__ == "__main__":
    main()
