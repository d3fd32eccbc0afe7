import httpx
import pytest
from fastapi import FastAPI
from pydantic import BaseModel

from shared.http import ProblemError, install_error_map, install_problem_handlers


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
