import asyncio
import logging
import re
from collections.abc import AsyncIterator

import httpx
import pytest
from fastapi import FastAPI, Request
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from starlette.routing import Route

from shared.edge import EdgeOptions, install_edge
from shared.http import install_operations, install_problem_handlers

MAX_BODY = 1000


class Service:
    """An application with an edge, and a client of it."""

    def __init__(self, app: FastAPI, client: httpx.AsyncClient) -> None:
        self.app = app
        self.client = client
        self.may_go = asyncio.Event()

    async def metrics(self) -> list[str]:
        return (await self.client.get("/metrics")).text.splitlines()


@pytest.fixture
async def service(tmp_path: object) -> AsyncIterator[Service]:
    app = FastAPI()
    registry = CollectorRegistry()

    @app.get("/things/{thing}")
    async def get_thing(thing: str) -> str:
        return thing

    @app.post("/things")
    async def post_thing(request: Request) -> int:
        return len(await request.body())

    @app.get("/broken")
    async def fail() -> None:
        raise RuntimeError("a bug at postgresql://me:secret@host/db")

    @app.get("/slow")
    async def wait() -> None:
        await service.may_go.wait()

    async def ready() -> dict[str, str]:
        return {}

    app.mount("/static", StaticFiles(directory=str(tmp_path)), name="static")
    install_problem_handlers(app)
    install_operations(app, ready=ready, registry=registry)
    options = EdgeOptions(service="test", max_in_flight=2, max_body=MAX_BODY)
    install_edge(app, options, registry=registry)
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        service = Service(app, client)
        yield service


def counted(lines: list[str]) -> dict[tuple[str, str, str], float]:
    """Return how many requests were counted, by method, route and status."""
    pattern = (
        r'segue_request_duration_seconds_count\{method="(.*)",route="(.*)",status="(.*)"\} (.*)'
    )
    found = (re.fullmatch(pattern, line) for line in lines)
    return {(m[1], m[2], m[3]): float(m[4]) for m in found if m}


async def test_requests_are_counted_by_template_and_never_by_what_a_client_made_up(
    service: Service,
) -> None:
    for thing in ("a", "b", "c"):
        await service.client.get(f"/things/{thing}")
    await service.client.post("/things", content=b"x")
    await service.client.get("/things")
    await service.client.get("/nowhere/a")
    await service.client.get("/static/absent")
    await service.client.request("MADEUP", "/things/a")
    assert counted(await service.metrics()) == {
        ("GET", "/things/{thing}", "200"): 3,
        ("POST", "/things", "200"): 1,
        ("GET", "/things", "405"): 1,
        ("GET", "unmatched", "404"): 1,
        ("GET", "/static", "404"): 1,
        ("other", "/things/{thing}", "405"): 1,
    }


async def test_the_running_version_and_the_process_are_exposed(service: Service) -> None:
    lines = await service.metrics()
    assert any(line.startswith('segue_build_info{service="test",version="') for line in lines)
    values = {line.rpartition(" ")[0]: line.rpartition(" ")[2] for line in lines}
    assert float(values["process_resident_memory_bytes"]) > 2**20


async def test_an_id_is_kept_if_it_is_one_and_made_otherwise(service: Service) -> None:
    async def ask(given: bytes) -> str:
        headers = [(b"X-Request-ID", given)]
        return (await service.client.get("/things/a", headers=headers)).headers["X-Request-ID"]

    assert await ask(b"abc-123/x") == "abc-123/x"
    made = {await ask(odd) for odd in (b"", b"a b", b'"', b"x" * 129, b"\xe9", b"a\tb")}
    assert len(made) == 6
    assert all(re.fullmatch(r"[0-9a-f]{12}-[0-9a-f]+", each) for each in made)


async def test_every_answer_says_how_a_browser_is_to_take_it(service: Service) -> None:
    for path in ("/things/a", "/nowhere", "/broken"):
        headers = (await service.client.get(path)).headers
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert headers["X-Request-ID"]
    assert "Content-Security-Policy" not in (await service.client.get("/docs")).headers


async def test_a_bug_is_a_problem_and_is_logged_with_its_request(
    service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    answer = await service.client.get("/broken", headers={"X-Request-ID": "the-one"})
    assert answer.status_code == 500
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert "secret" not in answer.text
    assert [record.exc_info is not None for record in caplog.records] == [True, False]
    assert counted(await service.metrics())["GET", "/broken", "500"] == 1


async def test_a_body_over_the_limit_is_refused_declared_or_not(service: Service) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(11):
            yield b"x" * 100

    assert (await service.client.post("/things", content=b"x" * MAX_BODY)).status_code == 200
    for content in (b"x" * (MAX_BODY + 1), chunks()):
        answer = await service.client.post("/things", content=content)
        assert answer.status_code == 413
        assert answer.headers["Content-Type"] == "application/problem+json"


async def test_more_than_it_can_answer_is_refused_but_not_its_health(service: Service) -> None:
    waiting = [asyncio.create_task(service.client.get("/slow")) for _ in range(2)]
    while (answer := await service.client.get("/things/a")).status_code != 429:  # noqa: ASYNC110
        await asyncio.sleep(0)
    assert answer.headers["Retry-After"] == "1"
    assert (await service.client.get("/health/live")).status_code == 200
    service.may_go.set()
    assert {(await task).status_code for task in waiting} == {200}
    assert (await service.client.get("/things/a")).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site", "Origin": "http://test"},
    ],
)
async def test_a_page_of_another_site_may_read_nothing_and_change_nothing(
    service: Service, headers: dict[str, str]
) -> None:
    answer = await service.client.post("/things", content=b"x", headers=headers)
    assert (answer.status_code, answer.json()["title"]) == (403, "Cross-site request")
    asked = {**headers, "Access-Control-Request-Method": "POST"}
    for method in ("GET", "OPTIONS"):
        read = await service.client.request(method, "/things/a", headers=asked)
        assert not any(name.startswith("access-control-") for name in read.headers)
        assert read.headers["Cross-Origin-Resource-Policy"] == "same-origin"


async def test_our_own_pages_and_programs_may_change_something(service: Service) -> None:
    for headers in ({"Origin": "http://test", "Sec-Fetch-Site": "same-origin"}, {}):
        answer = await service.client.post("/things", content=b"x", headers=headers)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "level"),
    [
        ("GET", "/things/a", logging.DEBUG),
        ("POST", "/things", logging.INFO),
        ("GET", "/broken", logging.WARNING),
        ("GET", "/metrics", logging.DEBUG),
    ],
)
async def test_answers_are_logged_once_each(
    service: Service, caplog: pytest.LogCaptureFixture, method: str, path: str, level: int
) -> None:
    caplog.set_level(logging.DEBUG, "segue.access")
    await service.client.request(method, path)
    (record,) = [record for record in caplog.records if record.name == "segue.access"]
    assert record.levelno == level
    assert record.__dict__["method"] == method
    assert record.__dict__["duration_ms"] >= 0


def test_a_plain_route_counts_as_its_template_too() -> None:
    async def endpoint(_: Request) -> None:
        """Never called."""

    app = FastAPI(routes=[Route("/plain/{id}", endpoint)])
    install_edge(app, EdgeOptions(service="test"), registry=CollectorRegistry())
    assert app.user_middleware[0].kwargs["paths"][endpoint] == "/plain/{id}"
