"""The HTTP edge, in process and without Redis."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.recommender.app import Adapters, create_app
from services.recommender.core.decisions import Outcome
from services.recommender.core.models import Models
from services.recommender.parsing import MAX_BODY
from tests.unit.recommender.factories import (
    EXPERIMENTS,
    FIRST_ID,
    TREATED,
    FixedModels,
    MemorySessionStore,
    Silent,
    make_index,
    make_served,
    make_settings,
)

GOOD = {"track": FIRST_ID, "time": 0.5}

BAD_BODIES: dict[str, tuple[bytes, int, str]] = {
    "empty": (b"", 400, "body"),
    "no JSON": (b"track=1", 400, "body"),
    "cut short": (b'{"track": 100, "time"', 400, "body"),
    "trailing garbage": (b'{"track": 100, "time": 1} x', 400, "body"),
    "not UTF-8": (b"\xff\xfe\x00", 400, "body"),
    "UTF-16": ('{"track": 100, "time": 1}'.encode("utf-16"), 400, "body"),
    "NaN": (b'{"track": 100, "time": NaN}', 400, "body"),
    "Infinity": (b'{"track": 100, "time": Infinity}', 400, "body"),
    "deep nesting": (b"[" * 30_000, 422, "body"),
    "deep nesting in an unknown field": (
        b'{"track": 100, "time": 1, "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
        400,
        "body",
    ),
    "a list": (b"[100, 1]", 422, "body"),
    "null": (b"null", 422, "body"),
    "no track": (b'{"time": 1}', 422, "track"),
    "no time": (b'{"track": 100}', 422, "time"),
    "track true": (b'{"track": true, "time": 1}', 422, "track"),
    "track string": (b'{"track": "100", "time": 1}', 422, "track"),
    "track fraction": (b'{"track": 100.7, "time": 1}', 422, "track"),
    "track float": (b'{"track": 100.0, "time": 1}', 422, "track"),
    "track null": (b'{"track": null, "time": 1}', 422, "track"),
    "track negative": (b'{"track": -1, "time": 1}', 422, "track"),
    "track huge": (b'{"track": 99999999999999999999, "time": 1}', 422, "track"),
    "track of many digits": (b'{"track": ' + b"9" * 5_000 + b', "time": 1}', 422, "track"),
    "track unknown": (b'{"track": 99, "time": 1}', 422, "track"),
    "time true": (b'{"track": 100, "time": true}', 422, "time"),
    "time string": (b'{"track": 100, "time": "1"}', 422, "time"),
    "time negative": (b'{"track": 100, "time": -0.1}', 422, "time"),
    "time above one": (b'{"track": 100, "time": 1.01}', 422, "time"),
    "time overflows": (b'{"track": 100, "time": 1e999}', 422, "time"),
    "too large": (b" " * (MAX_BODY + 1), 413, "body"),
    "20 MB": (b'{"x": "' + b"x" * 20_000_000 + b'"}', 413, "body"),
}
BAD_USERS = ["-1", "abc", "1.5", "true", "2147483648", "9" * 5_000, "%00", "1%20", "١"]


class Edge:
    """The application with its fakes, and a client of it."""

    def __init__(self, app: Any, client: httpx.AsyncClient, store: MemorySessionStore) -> None:
        """Keep all three."""
        self.app = app
        self.client = client
        self.store = store

    async def post(self, path: str, **content: Any) -> httpx.Response:
        """Post a good body unless told otherwise."""
        return await self.client.post(path, **(content or {"json": GOOD}))


@pytest.fixture
async def edge(tmp_path: Path) -> AsyncIterator[Edge]:
    """Run the application with fakes."""
    store = MemorySessionStore()
    models = FixedModels(Models({"latest": make_served(make_index())}))
    app = create_app(
        make_settings(tmp_path), Adapters(store=store, models=models, announcer=Silent())
    )
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            yield Edge(manager.app, client, store)


def assert_problem(response: httpx.Response, status: int, field: str) -> None:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem = response.json()
    assert problem["status"] == status
    assert problem["field"] == field
    assert problem["detail"]


async def test_root_is_botifys(edge: Edge) -> None:
    response = await edge.client.get("/")
    assert (response.status_code, response.json()) == (200, {"status": "alive"})


async def test_track_is_botifys(edge: Edge) -> None:
    response = await edge.client.get(f"/track/{FIRST_ID + 1}")
    expected = {"track": FIRST_ID + 1, "artist": "artist 1", "title": "title 1"}
    assert (response.status_code, response.json()) == (200, expected)


@pytest.mark.parametrize(("track", "status"), [("99", 404), ("-1", 422), ("x", 422)])
async def test_no_such_track_is_a_problem(edge: Edge, track: str, status: int) -> None:
    assert_problem(await edge.client.get(f"/track/{track}"), status, "track")


async def test_next_recommends_and_logs(edge: Edge) -> None:
    response = await edge.post(f"/next/{TREATED}")
    answer = response.json()
    assert response.status_code == 200
    assert answer["user"] == TREATED
    assert answer["track"] in range(FIRST_ID + 1, FIRST_ID + 13)
    assert [event.recommendation for event in edge.store.events] == [answer["track"]]


async def test_last_answers_the_user_and_closes(edge: Edge) -> None:
    await edge.post("/next/5")
    response = await edge.post("/last/5")
    assert response.json()["user"] == 5
    assert not edge.store.states
    assert [event.message for event in edge.store.events] == ["next", "last"]


@pytest.mark.parametrize("path", ["/next/5", "/last/5"])
@pytest.mark.parametrize(("body", "status", "field"), BAD_BODIES.values(), ids=BAD_BODIES)
async def test_a_bad_body_is_a_problem_and_changes_nothing(
    edge: Edge, path: str, body: bytes, status: int, field: str
) -> None:
    await edge.post("/next/5")
    before = (list(edge.store.events), dict(edge.store.states))
    assert_problem(await edge.post(path, content=body), status, field)
    assert before == (edge.store.events, edge.store.states)
    assert (await edge.post("/next/5")).status_code == 200
    assert [event.position for event in edge.store.events] == [0, 1]


async def test_a_streamed_body_is_bounded_too(edge: Edge) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 1_000

    assert_problem(await edge.post("/next/5", content=chunks()), 413, "body")


async def test_a_client_that_leaves_while_sending_reports_nothing(edge: Edge) -> None:
    messages = iter(
        [
            {"type": "http.request", "body": b'{"track": 100, "time": 1}', "more_body": True},
            {"type": "http.disconnect"},
        ]
    )
    sent: list[Any] = []

    async def receive() -> Any:
        return next(messages)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": "/next/5",
        "headers": [],
        "query_string": b"",
    }
    await edge.app(scope, receive, send)
    assert sent[0]["status"] == 400
    assert not edge.store.events


@pytest.mark.parametrize("user", BAD_USERS)
async def test_a_bad_user_is_a_problem(edge: Edge, user: str) -> None:
    assert_problem(await edge.post(f"/next/{user}"), 422, "user")
    assert not edge.store.events


async def test_the_largest_user_is_served(edge: Edge) -> None:
    assert (await edge.post(f"/next/{2**31 - 1}")).status_code == 200


@pytest.mark.parametrize("content_type", [None, "application/json", "Application/JSON; charset=x"])
async def test_json_needs_no_declaration(edge: Edge, content_type: str | None) -> None:
    headers = {"content-type": content_type} if content_type else {}
    body = b'{"track": 100, "time": 1, "unknown": {"field": [1]}}'
    assert (await edge.post("/next/5", content=body, headers=headers)).status_code == 200


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/jsonx"]
)
async def test_another_content_type_is_a_problem(edge: Edge, content_type: str) -> None:
    headers = {"content-type": content_type}
    response = await edge.post("/next/5", content=b'{"track":100,"time":1}', headers=headers)
    assert_problem(response, 415, "body")


async def test_a_retry_with_its_key_is_one_event(edge: Edge) -> None:
    first, again = [
        await edge.post("/next/5", json=GOOD, headers={"Idempotency-Key": "k 1"}) for _ in range(2)
    ]
    assert first.content == again.content
    assert len(edge.store.events) == 1


async def test_a_key_used_for_another_request_is_a_problem(edge: Edge) -> None:
    headers = {"Idempotency-Key": "k"}
    await edge.post("/next/5", json=GOOD, headers=headers)
    response = await edge.post("/last/5", json=GOOD, headers=headers)
    assert_problem(response, 422, "Idempotency-Key")


@pytest.mark.parametrize("key", [b"", b"x" * 201, b"a\tb", b"\xe9"])
async def test_a_bad_key_is_a_problem(edge: Edge, key: bytes) -> None:
    response = await edge.post("/next/5", json=GOOD, headers=[(b"Idempotency-Key", key)])
    assert_problem(response, 422, "Idempotency-Key")


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("GET", "/next/5", 405), ("POST", "/next", 404), ("GET", "/absent", 404)],
)
async def test_unknown_routes_are_problems(edge: Edge, method: str, path: str, status: int) -> None:
    response = await edge.client.request(method, path)
    assert response.status_code == status
    assert response.headers["content-type"] == "application/problem+json"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=100),
        st.text(alphabet='{}[]":,trackime0159.-e ').map(str.encode),
    )
)
async def test_any_bytes_are_served_or_a_problem(edge: Edge, body: bytes) -> None:
    n_before = len(edge.store.events)
    response = await edge.post("/next/5", content=body)
    assert response.status_code in {200, 400, 422}
    assert len(edge.store.events) - n_before == (response.status_code == 200)


async def test_ready_with_every_part(edge: Edge) -> None:
    response = await edge.client.get("/health/ready")
    assert response.json() == {"status": "ok", "parts": {"sessions": "ok", "models": "ok"}}


async def test_metrics_hold_what_a_mean_per_session_needs(edge: Edge) -> None:
    await edge.post(f"/next/{TREATED}")
    await edge.post(f"/last/{TREATED}", json={"track": FIRST_ID, "time": 0.25})
    await edge.post("/next/x")
    lines = (await edge.client.get("/metrics")).text.splitlines()
    for line in [
        'segue_listened_time_total{experiment="SERVING",treatment="T1"} 0.75',
        'segue_playbacks_total{experiment="SERVING",treatment="T1"} 2.0',
        'segue_sessions_opened_total{experiment="SERVING",treatment="T1"} 1.0',
        'segue_sessions_total{experiment="SERVING",treatment="T1"} 1.0',
        'segue_listened_time_total{experiment="AA",treatment="T1"} 0.75',
        'segue_exposures_total{experiment="SERVING",recommender="contextual",treatment="T1"} 1.0',
        'segue_request_duration_seconds_count{method="POST",route="/next/{user}",status="200"} 1.0',
        'segue_request_duration_seconds_count{method="POST",route="/next/{user}",status="422"} 1.0',
    ]:
        assert line in lines


async def test_metrics_hold_what_each_arm_is_due(tmp_path: Path) -> None:
    (tmp_path / "experiments.yaml").write_bytes(
        EXPERIMENTS.replace(b"recommender: contextual}", b"recommender: top_pop, weight: 3}")
    )
    adapters = Adapters(store=MemorySessionStore(), models=FixedModels())
    async with LifespanManager(create_app(make_settings(tmp_path), adapters)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            lines = (await client.get("/metrics")).text.splitlines()
    for line in [
        'segue_treatment_share{experiment="SERVING",treatment="C"} 0.25',
        'segue_treatment_share{experiment="SERVING",treatment="T1"} 0.75',
        'segue_treatment_share{experiment="AA",treatment="C"} 0.5',
    ]:
        assert line in lines


async def test_the_latency_of_each_treatment_is_measured(edge: Edge) -> None:
    await edge.post(f"/next/{TREATED}")
    lines = (await edge.client.get("/metrics")).text.splitlines()
    assert 'segue_decision_seconds_count{experiment="SERVING",treatment="T1"} 1.0' in lines


class SlowStore(MemorySessionStore):
    """Answers when it is told to."""

    def __init__(self) -> None:
        """Hold everything back."""
        super().__init__()
        self.may_go = asyncio.Event()
        self.n_waiting = 0

    async def update(self, user: int, transition: Any) -> Outcome:
        """Wait, then answer."""
        self.n_waiting += 1
        await self.may_go.wait()
        return await super().update(user, transition)


async def test_more_than_it_can_answer_is_refused_at_once(tmp_path: Path) -> None:
    store = SlowStore()
    app = create_app(
        make_settings(tmp_path, max_in_flight=3),
        Adapters(store=store, models=FixedModels(), announcer=Silent()),
    )
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            waiting = [
                asyncio.create_task(client.post(f"/next/{user}", json=GOOD)) for user in range(3)
            ]
            while store.n_waiting < 3:  # noqa: ASYNC110 - the store is the test's own
                await asyncio.sleep(0)
            refused = await client.post("/last/9", json=GOOD)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert (await client.get("/health/live")).status_code == 200
            store.may_go.set()
            assert {(await task).status_code for task in waiting} == {200}
            assert (await client.post("/last/9", json=GOOD)).status_code == 200


async def test_a_retry_is_not_counted_again(edge: Edge) -> None:
    for _ in range(2):
        await edge.post(f"/next/{TREATED}", json=GOOD, headers={"Idempotency-Key": "k"})
    lines = (await edge.client.get("/metrics")).text.splitlines()
    assert 'segue_playbacks_total{experiment="SERVING",treatment="T1"} 1.0' in lines


async def test_fallbacks_are_counted_by_reason(tmp_path: Path) -> None:
    adapters = Adapters(store=MemorySessionStore(), models=FixedModels(), announcer=Silent())
    async with LifespanManager(create_app(make_settings(tmp_path), adapters)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            assert (await client.post(f"/next/{TREATED}", json=GOOD)).status_code == 200
            lines = (await client.get("/metrics")).text.splitlines()
    arm = 'experiment="SERVING"'
    assert (
        f'segue_fallbacks_total{{{arm},reason="contextual:no_model",treatment="T1"}} 1.0' in lines
    )
    assert f'segue_fallbacks_total{{{arm},reason="top_pop:no_model",treatment="T1"}} 1.0' in lines


async def test_openapi_describes_the_raw_routes(edge: Edge) -> None:
    document = (await edge.client.get("/openapi.json")).json()
    operation = document["paths"]["/next/{user}"]["post"]
    body = operation["requestBody"]["content"]["application/json"]["schema"]
    assert body["required"] == ["track", "time"]
    assert body["properties"]["time"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert {p["name"]: p["in"] for p in operation["parameters"]} == {
        "user": "path",
        "Idempotency-Key": "header",
        "explain": "query",
    }
    statuses = "200 400 403 409 413 415 422 429 503"
    assert set(operation["responses"]) == set(statuses.split())
    answer = operation["responses"]["200"]["content"]["application/json"]["schema"]
    given = (await edge.post("/next/5")).json()
    assert set(given) <= set(answer["properties"])
    assert set(answer["required"]) <= set(given)
    problem = operation["responses"]["422"]["content"]["application/problem+json"]["schema"]
    refused = (await edge.post("/next/x")).json()
    assert set(refused) == set(problem["properties"])
    track = document["paths"]["/track/{track}"]["get"]
    assert [p["name"] for p in track["parameters"]] == ["track"]
    assert {"200", "404", "422", "429"} == set(track["responses"])


async def test_a_request_may_ask_why(tmp_path: Path) -> None:
    arms = "treatments: [{name: C, recommender: session}, {name: T1, recommender: session}]"
    (tmp_path / "experiments.yaml").write_text(
        f"{{serving: S, experiments: [{{name: S, {arms}}}]}}"
    )
    store = MemorySessionStore()
    models = FixedModels(Models({"latest": make_served(make_index())}))
    app = create_app(
        make_settings(tmp_path), Adapters(store=store, models=models, announcer=Silent())
    )
    async with LifespanManager(app) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
            asked = (await client.post("/next/7?explain=1", json=GOOD)).json()
            plain = (await client.post("/next/8?explain=0", json=GOOD)).json()
            refused = await client.post("/next/9?explain=yes", json=GOOD)
    assert asked["recommender"] == "session"
    assert asked["explanation"]["anchor"] == FIRST_ID
    assert "explanation" not in plain
    assert (refused.status_code, refused.json()["field"]) == (422, "explain")
    assert len(store.events) == 2


@pytest.mark.parametrize(
    "headers", [{"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}]
)
async def test_a_page_of_another_site_cannot_report(edge: Edge, headers: dict[str, str]) -> None:
    # A browser sends this without asking first: it needs no declaration of JSON.
    body = b'{"track": 100, "time": 1}'
    response = await edge.post("/next/5", content=body, headers=headers)
    assert (response.status_code, response.json()["title"]) == (403, "Cross-site request")
    assert not edge.store.events
    assert response.headers["X-Request-ID"]


async def test_a_report_is_answered_with_its_id_and_as_what_it_is(edge: Edge) -> None:
    answer = await edge.post("/next/5", json=GOOD, headers={"X-Request-ID": "r-7"})
    assert answer.headers["X-Request-ID"] == "r-7"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    ids = {(await edge.post("/next/5")).headers["X-Request-ID"] for _ in range(3)}
    assert len(ids) == 3
