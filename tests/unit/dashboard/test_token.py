import base64
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from services.dashboard.adapters.peers import Peer
from services.dashboard.rendering import STATIC
from shared.tracing import trace_headers
from tests.tracing import RecordedTracing
from tests.unit.dashboard.factories import Dashboard, serving

TOKEN = "0123456789abcdef"
BROWSER = {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
PROGRAM = {"Authorization": f"Bearer {TOKEN}"}
TEMPLATES = STATIC.parent / "templates"


@pytest.fixture
async def protected(tmp_path: Path) -> AsyncIterator[Dashboard]:
    async with serving(tmp_path, SEGUE_API_TOKEN=TOKEN) as dashboard:
        yield dashboard


async def test_a_browser_is_asked_for_the_token_before_it_changes_what_serves(
    protected: Dashboard,
) -> None:
    form = {"token": await protected.token("/rollback")}
    refused = await protected.send("/rollback", form)
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic ")
    assert refused.headers["Content-Type"].startswith("text/html")
    assert ("POST", "/models/rollback") not in protected.services.requests
    for credentials in (BROWSER, PROGRAM):
        assert (await protected.send("/rollback", form, **credentials)).status_code == 303


async def test_the_token_alone_is_not_enough_for_a_page_of_another_site(
    protected: Dashboard,
) -> None:
    # A browser that was asked once sends the token by itself.
    form = {"token": await protected.token("/rollback")}
    for headers in ({"Origin": "http://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = await protected.send("/rollback", form, **BROWSER, **headers)
        assert answer.status_code == 403
    assert (await protected.send("/rollback", {}, **BROWSER)).status_code == 403


async def test_whoever_reads_or_listens_needs_no_token(protected: Dashboard) -> None:
    await protected.page("/models")
    form = {"token": await protected.token("/listen"), "track": "101", "arm": "T1"}
    assert (await protected.send("/listen", form)).status_code == 303


async def test_a_peer_is_sent_its_headers_with_posts_alone_and_the_trace_with_all() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, json={})

    client = httpx.AsyncClient(transport=httpx.MockTransport(answer), base_url="http://trainer")
    async with client:
        peer = Peer("trainer", client, headers=PROGRAM)
        with RecordedTracing().span("request"):
            sent = trace_headers()["traceparent"]
            await peer.post("/models/rollback")
            await peer.get("/models")
    assert [request.headers.get("Authorization") for request in seen] == [f"Bearer {TOKEN}", None]
    assert {request.headers["traceparent"] for request in seen} == {sent}


async def test_a_page_may_run_our_script_files_and_nothing_else(dashboard: Dashboard) -> None:
    headers = (await dashboard.client.get("/models", headers={"Accept": "text/html"})).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert policy["base-uri"] == "'none'"
    assert policy["form-action"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff"
    cookie = headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie


@pytest.mark.parametrize("path", sorted(TEMPLATES.glob("*.html")), ids=lambda path: path.name)
def test_no_template_holds_a_script_or_a_handler(path: Path) -> None:
    text = path.read_text()
    assert not re.search(r"<script(?![^>]*\ssrc=)[^>]*>", text)
    assert not re.search(r"\son[a-z]+\s*=", text)
    assert "javascript:" not in text
    assert "|safe" not in text.replace(" ", "")
