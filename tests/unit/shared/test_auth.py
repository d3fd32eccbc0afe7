import base64
import hmac
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from pydantic import SecretStr, ValidationError

from shared.auth import install_token, protect, protect_page
from shared.exposure import EdgeSettings, ExposedError, make_authorization
from shared.http import install_problem_handlers
from shared.settings import describe_invalid_settings

TOKEN = "a-token-of-some-length:x"


def basic(name: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{name}:{password}".encode()).decode()


def make_client(token: SecretStr | None) -> httpx.AsyncClient:
    app = FastAPI()
    install_problem_handlers(app)
    install_token(app, token)

    @app.post("/change", **protect())
    async def change() -> str:
        return "changed"

    @app.post("/page", **protect_page())
    async def change_page() -> str:
        return "changed"

    transport = httpx.ASGITransport(app)
    return httpx.AsyncClient(transport=transport, base_url="http://test")


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with make_client(SecretStr(TOKEN)) as client:
        yield client


@pytest.mark.parametrize(
    "credentials",
    ["", "Bearer", "Bearer wrong", f"Bearer {TOKEN[:-1]}y", f"Basic {TOKEN}", TOKEN, "Basic !!"],
)
@pytest.mark.parametrize("path", ["/change", "/page"])
async def test_without_the_token_nothing_is_changed(
    client: httpx.AsyncClient, path: str, credentials: str
) -> None:
    headers = [(b"Authorization", credentials.encode())] if credentials else []
    answer = await client.post(path, headers=headers)
    assert (answer.status_code, answer.json()["field"]) == (401, "Authorization")
    assert answer.headers["WWW-Authenticate"].startswith("Bearer" if path == "/change" else "Basic")
    assert TOKEN not in answer.text


async def test_with_the_token_it_is(client: httpx.AsyncClient) -> None:
    bearer = {"Authorization": b"Bearer " + TOKEN.encode()}
    for path in ("/change", "/page"):
        assert (await client.post(path, headers=[(b"Authorization", bearer["Authorization"])])).text


async def test_a_browser_may_send_it_as_a_password(client: httpx.AsyncClient) -> None:
    headers = {"Authorization": basic("anyone", TOKEN)}
    assert (await client.post("/page", headers=headers)).status_code == 200
    assert (
        await client.post("/page", headers={"Authorization": basic(TOKEN, "x")})
    ).status_code == 401
    assert (await client.post("/change", headers=headers)).status_code == 401


async def test_without_a_token_everybody_may() -> None:
    async with make_client(None) as client:
        for path in ("/change", "/page"):
            assert (await client.post(path)).status_code == 200


async def test_an_application_that_nobody_gave_a_token_lets_nobody_in() -> None:
    app = FastAPI()

    @app.post("/change", **protect())
    async def change() -> str:
        return "changed"

    transport = httpx.ASGITransport(app, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        assert (await client.post("/change")).status_code == 500


async def test_the_token_is_compared_in_constant_time(
    client: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[tuple[Any, Any]] = []
    real: Callable[[Any, Any], bool] = hmac.compare_digest

    def compare(one: Any, other: Any) -> bool:
        compared.append((one, other))
        return real(one, other)

    monkeypatch.setattr(hmac, "compare_digest", compare)
    for given in ("", "Bearer x", f"Bearer {'x' * 1000}"):
        await client.post("/change", headers={"Authorization": given} if given else {})
    assert [len(one) for one, _ in compared] == [0, 1, 1000]


async def test_openapi_says_which_routes_ask_for_it(client: httpx.AsyncClient) -> None:
    document = (await client.get("/openapi.json")).json()
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert document["components"]["securitySchemes"]["browser"]["scheme"] == "basic"
    assert document["paths"]["/change"]["post"]["security"] == [{"token": []}]
    assert "401" in document["paths"]["/change"]["post"]["responses"]
    assert {"browser": []} in document["paths"]["/page"]["post"]["security"]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.org", "10.0.0.1"])
def test_a_service_that_others_can_reach_needs_a_token(host: str) -> None:
    with pytest.raises(ExposedError, match="SEGUE_API_TOKEN"):
        EdgeSettings().check_exposure(host)
    EdgeSettings(SEGUE_API_TOKEN="x" * 16).check_exposure(host)
    EdgeSettings(SEGUE_ALLOW_NO_TOKEN=True).check_exposure(host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "localhost"])
def test_on_loopback_none_is_needed(host: str) -> None:
    EdgeSettings().check_exposure(host)


def test_an_empty_token_is_none_and_a_short_one_is_refused() -> None:
    assert EdgeSettings(SEGUE_API_TOKEN="").api_token is None
    for odd in ("short", "x" * 15 + "é", "x" * 15 + " ", "x" * 16 + "\n"):
        with pytest.raises(ValidationError, match="16 printable") as caught:
            EdgeSettings(SEGUE_API_TOKEN=odd)
        assert describe_invalid_settings(caught.value).startswith("setting SEGUE_API_TOKEN: ")
        assert "xxx" not in describe_invalid_settings(caught.value)


def test_a_token_shows_in_no_text_but_the_header() -> None:
    settings = EdgeSettings(SEGUE_API_TOKEN="x" * 16)
    assert "xxx" not in repr(settings)
    assert make_authorization(settings.api_token) == {"Authorization": "Bearer " + "x" * 16}
    assert make_authorization(None) == {}
