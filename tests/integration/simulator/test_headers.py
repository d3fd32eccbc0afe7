"""What the simulator's requests carry beside their bodies: the token, and the trace."""

from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from shared.tracing import Tracing
from simulator.adapters.patient_http import PatientClient
from simulator.adapters.recommender_client import RemoteRecommender
from simulator.core.live_session import open_session
from simulator.core.world import make_dynamics
from simulator.days import open_laboratory
from tests.tracing import RecordedTracing, span_id, trace_id
from tests.unit.simulator.worlds import make_small_world

WORLD = make_small_world()
DYNAMICS = make_dynamics(WORLD)
TOKEN = {"Authorization": "Bearer 0123456789abcdef"}


class Recorder:
    """Answers as any service does, and keeps what it was sent."""

    def __init__(self) -> None:
        self.url = ""
        self.seen: list[web.BaseRequest] = []

    async def answer(self, request: web.Request) -> web.Response:
        self.seen.append(request)
        user = request.path.rpartition("/")[2]
        track = int(WORLD.catalog.track_ids[0])
        return web.json_response({"user": int(user) if user.isdecimal() else 0, "track": track})


@pytest.fixture
async def recorder() -> AsyncIterator[Recorder]:
    recorder, app = Recorder(), web.Application()
    app.router.add_route("*", "/{path:.*}", recorder.answer)
    async with TestServer(app) as server:
        recorder.url = str(server.make_url("/"))
        yield recorder


def make_client(url: str, headers: dict[str, str] | None = None) -> PatientClient:
    return PatientClient(
        url,
        timeout_s=5,
        patience_s=0,
        max_connections=1,
        notify=lambda _: None,
        headers=headers,
    )


async def play_step(url: str, tracing: Tracing | None) -> None:
    async with make_client(url) as client:
        recommender = RemoteRecommender(
            client, WORLD.catalog, seed=1, run_id="run", tracing=tracing
        )
        session = open_session(DYNAMICS, 1, 7)
        session.listen((await recommender.recommend(session)).row)
        await recommender.finish(session)


async def test_every_step_is_a_trace_that_the_recommender_can_continue(recorder: Recorder) -> None:
    tracing = RecordedTracing()
    await play_step(recorder.url, tracing)
    sent = [request.headers["traceparent"].rsplit("-", 1)[0] for request in recorder.seen]
    assert sent == [f"00-{trace_id(span)}-{span_id(span)}" for span in tracing.spans]
    assert len({trace_id(span) for span in tracing.spans}) == 2
    assert [dict(span.attributes or {}) for span in tracing.spans] == [
        {"segue.episode": 7, "segue.position": 0},
        {"segue.episode": 7, "segue.position": 1},
    ]


async def test_without_traces_nothing_is_sent_along(recorder: Recorder) -> None:
    await play_step(recorder.url, None)
    assert len(recorder.seen) == 2
    assert not any("traceparent" in request.headers for request in recorder.seen)


async def test_the_token_goes_with_what_is_posted_and_not_with_what_is_read(
    recorder: Recorder,
) -> None:
    async with make_client(recorder.url, TOKEN) as client:
        await client.post("/train", b"{}", {b"Content-Type": b"application/json"})
        await client.get("/models")
    posted, read = recorder.seen
    assert posted.headers["Authorization"] == TOKEN["Authorization"]
    assert posted.headers["Content-Type"] == "application/json"
    assert "Authorization" not in read.headers


async def test_of_a_laboratory_only_the_trainer_is_shown_the_token(recorder: Recorder) -> None:
    urls = {name: f"{recorder.url}{name}" for name in ("recommender", "logger", "trainer")}
    async with open_laboratory(
        **urls, timeout_s=5, patience_s=0, say=lambda _: None, headers=TOKEN
    ) as laboratory:
        for client in (laboratory.recommender, laboratory.logger, laboratory.trainer):
            await client.post("/0", b"", {})
    shown = ["Authorization" in request.headers for request in recorder.seen]
    assert shown == [False, False, True]
