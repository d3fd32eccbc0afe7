"""Listeners against a recommender on a real socket."""

import asyncio
import itertools
import time
from collections.abc import AsyncIterator, Callable

import numpy as np
import pytest
from aiohttp import web

from shared.catalog import Catalog
from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.core.arrivals import schedule_arrivals
from simulator.core.draws import FloatArray
from simulator.core.world import make_dynamics
from simulator.live import Recommender, Watch, play_episodes
from simulator.results import Result
from tests.conftest import free_port
from tests.integration.simulator.services import FakeRecommender
from tests.unit.simulator.worlds import make_small_world

WORLD = make_small_world()
DYNAMICS = make_dynamics(WORLD)
N_TRACKS = len(WORLD.catalog)


@pytest.fixture
async def service() -> AsyncIterator[FakeRecommender]:
    fake = FakeRecommender(N_TRACKS)
    async with fake.make_server() as server:
        fake.url = str(server.make_url("/"))
        yield fake


async def play(
    url: str,
    n_episodes: int,
    *,
    seed: int = 1,
    concurrency: int = 1,
    patience_s: float = 5.0,
    catalog: Catalog = WORLD.catalog,
    notify: Callable[[str], None] = lambda _: None,
    results: list[Result] | None = None,
    most_tracks: int | None = None,
    records: bool = False,
    arrivals_s: FloatArray | None = None,
    watch: Watch | None = None,
) -> list[Result]:
    results = [] if results is None else results
    client = PatientClient(
        url, timeout_s=2.0, patience_s=patience_s, max_connections=concurrency, notify=notify
    )
    async with client:
        recommender: Recommender = RemoteRecommender(client, catalog, seed=seed, run_id="run")
        await play_episodes(
            DYNAMICS,
            recommender,
            seed=seed,
            episodes=range(n_episodes),
            concurrency=concurrency,
            watch=watch or Watch(results.append, records=records, most_tracks=most_tracks),
            arrivals_s=arrivals_s,
        )
    return sorted(results, key=lambda result: result.episode)


async def test_a_session_speaks_botifys_protocol(service: FakeRecommender) -> None:
    (result,) = await play(service.url, 1)
    paths = [path for path, _, _ in service.requests]
    assert paths == [f"/next/{result.user}"] * (result.tracks - 1) + [f"/last/{result.user}"]
    bodies = [body for _, body, _ in service.requests]
    assert bodies[0]["time"] == 1.0
    assert sum(body["time"] for body in bodies) == pytest.approx(result.time)
    for earlier, later in itertools.pairwise(bodies):
        assert later["track"] == (earlier["track"] * 7 + 3) % N_TRACKS


async def test_the_seed_decides_whatever_the_concurrency(service: FakeRecommender) -> None:
    alone = await play(service.url, 150, concurrency=1)
    service.requests.clear()
    for concurrency in (64, 256):
        assert await play(service.url, 150, concurrency=concurrency) == alone
    assert await play(service.url, 150, seed=2, concurrency=64) != alone


async def test_every_session_carries_what_served_it(service: FakeRecommender) -> None:
    (plain,) = await play(service.url, 1)
    assert plain.first is not None
    assert (plain.first.recommender, plain.playbacks) == ("fake", ())
    (told,) = await play(service.url, 1, records=True)
    assert len(told.playbacks) == told.tracks
    assert sum(playback.time for playback in told.playbacks) == pytest.approx(told.time)
    assert told.playbacks[0].served is None
    assert {p.served.recommender for p in told.playbacks if p.served} == {"fake"}


async def test_arrivals_change_nothing_that_is_played(service: FakeRecommender) -> None:
    alone = await play(service.url, 100, concurrency=1)
    due = schedule_arrivals(1, np.arange(100), rate=400.0, arrivals="poisson")
    started = time.monotonic()
    assert await play(service.url, 100, concurrency=32, arrivals_s=due) == alone
    assert time.monotonic() - started > due[-1]  # nobody came early
    assert service.overlaps == 0


async def test_waiting_counts_from_when_a_session_was_due(service: FakeRecommender) -> None:
    service.delay_s = 0.01
    watch = Watch(lambda _: None)
    at_once = np.zeros(6)  # six come together, one at a time is let in
    await play(service.url, 6, concurrency=1, arrivals_s=at_once, watch=watch)
    assert len(watch.starts_s) == 6
    sessions_s = np.diff(sorted(watch.starts_s))
    assert sessions_s.min() > 5 * service.delay_s  # each waited for the whole session before it
    assert min(watch.steps_s) > service.delay_s
    assert len(watch.steps_s) == len([p for p, _, _ in service.requests if p.startswith("/next")])


async def test_a_run_that_is_stopped_leaves_no_session_open(service: FakeRecommender) -> None:
    results: list[Result] = []
    watch = Watch(results.append)

    def stop_after_ten(result: Result) -> None:
        results.append(result)
        if len(results) == 10:
            watch.stops.set()

    watch.on_result = stop_after_ten
    await play(service.url, 1_000, concurrency=16, watch=watch)
    assert 10 <= len(results) < 30
    assert service.active == {}
    n_closed = len([path for path, _, _ in service.requests if path.startswith("/last")])
    assert n_closed > len(results)  # sessions that were cut are closed, and are no results


async def test_a_user_is_in_one_session_at_a_time(service: FakeRecommender) -> None:
    results = await play(service.url, 300, concurrency=64)
    assert len({result.user for result in results}) < 64  # sessions had to wait
    assert service.overlaps == 0


async def test_a_session_that_is_cut_is_closed(service: FakeRecommender) -> None:
    whole = await play(service.url, 30)
    service.requests.clear()
    cut = await play(service.url, 30, most_tracks=6)
    assert max(result.tracks for result in whole) > 6
    assert [result.tracks for result in cut] == [min(result.tracks, 6) for result in whole]
    n_closed = sum(path.startswith("/last/") for path, _, _ in service.requests)
    assert n_closed == 30


async def test_a_fault_of_the_connection_repeats_the_step_with_its_key(
    service: FakeRecommender,
) -> None:
    undisturbed = await play(service.url, 3)
    service.requests.clear()
    service.faults = [None, web.Response(status=503), web.Response(status=429)]
    assert await play(service.url, 3) == undisturbed
    keys = [key for _, _, key in service.requests]
    assert keys[:4] == ["1:0:0:run"] * 4
    assert len(set(keys[3:])) == len(keys[3:])


async def test_every_step_has_a_key_of_its_own(service: FakeRecommender) -> None:
    results = await play(service.url, 20, concurrency=8)
    keys = [key for _, _, key in service.requests]
    assert len(set(keys)) == len(keys) == sum(result.tracks for result in results)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (web.Response(status=404, text="<h1>no such page</h1>"), "answered 404: <h1>no such page"),
        (web.Response(status=422, text='{"detail": "track"}'), "answered 422"),
        (web.Response(status=500, text="boom"), "answered 500: boom"),
        (web.Response(status=302, headers={"Location": "/"}), "answered 302"),
        (web.Response(text="<html>portal</html>"), "not an answer of a recommender"),
        (web.Response(body=b"\xff\xfe"), "not an answer of a recommender"),
        (web.json_response({"user": -1, "track": 3}), "not an answer of a recommender"),
        (web.json_response([1]), "not an answer of a recommender"),
    ],
)
async def test_rubbish_ends_the_run_and_names_the_url(
    service: FakeRecommender, answer: web.Response, fault: str
) -> None:
    service.faults = [answer]
    with pytest.raises(ServiceError, match=fault) as caught:
        await play(service.url, 1)
    assert f"{service.url}next/" in str(caught.value)
    assert len(service.requests) == 1  # not tried again


async def test_no_track_and_a_foreign_track_end_the_run(service: FakeRecommender) -> None:
    (result,) = await play(service.url, 1)
    service.faults = [web.json_response({"user": result.user})]
    with pytest.raises(ServiceError, match="recommends no track"):
        await play(service.url, 1)
    service.faults = [web.json_response({"user": result.user, "track": N_TRACKS})]
    with pytest.raises(ServiceError, match=f"track {N_TRACKS}, which is not in the catalogue"):
        await play(service.url, 1)
    service.faults = [web.json_response({"user": result.user + 1, "track": 1})]
    with pytest.raises(ServiceError, match="answers for user"):
        await play(service.url, 1)


async def test_results_before_a_fault_are_kept(service: FakeRecommender) -> None:
    first = await play(service.url, 1)
    service.breaks_at = 2 * len(service.requests) + 5
    results: list[Result] = []
    with pytest.raises(ServiceError, match="answered 500"):
        await play(service.url, 1_000, results=results)
    assert results[0] == first[0]


async def test_a_run_pauses_while_the_service_is_away_and_goes_on() -> None:
    fake, port = FakeRecommender(N_TRACKS), free_port()
    said: list[str] = []
    run = asyncio.create_task(
        play(f"http://127.0.0.1:{port}", 20, concurrency=8, patience_s=20, notify=said.append)
    )
    await asyncio.sleep(0.3)
    assert not run.done()
    async with fake.make_server(port):
        results = await run
    assert len(results) == 20
    assert len(said) == 2  # once away, once back, whatever the concurrency
    assert "paused" in said[0]
    assert "back after" in said[1]


async def test_patience_ends() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(ServiceError, match=r"gave up after 0\.2 s") as caught:
        await play(url, 1, patience_s=0.2)
    assert url in str(caught.value)
