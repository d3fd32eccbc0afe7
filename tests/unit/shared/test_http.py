import contextlib
from collections.abc import AsyncIterator

import httpx
import pytest
from asgi_lifespan import LifespanManager
from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from pydantic import BaseModel

from shared.http import (
    ProblemError,
    install_error_map,
    install_operations,
    install_problem_handlers,
)


class Order(BaseModel):
    n: int


class LostError(Exception):
    pass


class LostFurtherError(LostError):
    pass


@pytest.fixture
def client() -> httpx.AsyncClient:
    app = FastAPI()
    install_problem_handlers(app)
    install_error_map(app, {LostError: (404, "Lost")})

    @app.post("/orders")
    async def order(order: Order) -> int:
        if order.n == 0:
            raise LostFurtherError("zero is lost")
        if order.n < 0:
            raise ProblemError(503, "Busy", "come back", field="n", after=3)
        return order.n

    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test")


@pytest.mark.parametrize(
    ("body", "status", "field"),
    [("{", 422, "body"), ('{"n": "x"}', 422, "n"), ("{}", 422, "n"), ('{"n": -1}', 503, "n")],
)
async def test_a_problem_names_the_field(
    client: httpx.AsyncClient, body: str, status: int, field: str
) -> None:
    headers = {"Content-Type": "application/json"}
    response = await client.post("/orders", content=body, headers=headers)
    assert response.headers["content-type"] == "application/problem+json"
    assert (response.status_code, response.json()["field"]) == (status, field)
    assert response.json()["status"] == status


async def test_a_domain_error_is_mapped_with_its_subclasses(client: httpx.AsyncClient) -> None:
    response = await client.post("/orders", json={"n": 0})
    problem = {"type": "about:blank", "title": "Lost", "status": 404, "detail": "zero is lost"}
    assert (response.status_code, response.json()) == (404, problem)


async def test_unavailable_says_when_to_come_back(client: httpx.AsyncClient) -> None:
    response = await client.post("/orders", json={"n": -1})
    assert response.headers["retry-after"] == "1"
    assert response.json()["after"] == 3


async def test_an_unknown_path_is_a_problem_too(client: httpx.AsyncClient) -> None:
    response = await client.get("/nowhere")
    assert (response.status_code, response.json()["title"]) == (404, "HTTP error")


class Service:
    """A service whose parts can be taken away."""

    def __init__(self) -> None:
        """Have everything."""
        self.dependencies = {"redis": "ok"}
        self.tasks = {"consumer": "ok"}

        @contextlib.asynccontextmanager
        async def lifespan(_: FastAPI) -> AsyncIterator[dict[str, object]]:
            yield {"service": self}

        async def ready() -> dict[str, str]:
            return self.dependencies

        self.app = FastAPI(lifespan=lifespan)
        install_operations(
            self.app, ready=ready, live=lambda: self.tasks, registry=CollectorRegistry()
        )

    async def probe(self) -> dict[str, int]:
        """Ask all three questions of the started service."""
        async with LifespanManager(self.app) as manager:
            return await probe(manager.app)


async def probe(app: object) -> dict[str, int]:
    transport = httpx.ASGITransport(app)  # type: ignore[arg-type]
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        probes = ("startup", "live", "ready")
        return {name: (await client.get(f"/health/{name}")).status_code for name in probes}


async def test_a_whole_service_is_started_live_and_ready() -> None:
    assert await Service().probe() == {"startup": 200, "live": 200, "ready": 200}


async def test_until_its_start_is_over_a_service_is_not_started() -> None:
    assert (await probe(Service().app))["startup"] == 503


async def test_what_others_lack_makes_a_service_unready_and_no_more() -> None:
    service = Service()
    service.dependencies["redis"] = "down"
    assert await service.probe() == {"startup": 200, "live": 200, "ready": 503}


async def test_what_only_a_restart_mends_makes_a_service_dead_and_no_more() -> None:
    service = Service()
    service.tasks["consumer"] = "ended"
    assert await service.probe() == {"startup": 200, "live": 503, "ready": 200}
