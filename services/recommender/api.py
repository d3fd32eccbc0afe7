"""The HTTP edge: botify's API."""

from collections.abc import Mapping
from typing import TypedDict, cast

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelSource
from services.recommender.adapters.session_store import SessionStore, StoreUnavailableError
from services.recommender.core.decisions import Decider, Outcome, ReusedKeyError, UnknownTrackError
from services.recommender.core.policies import CatalogExhaustedError
from services.recommender.core.sessions import Message
from services.recommender.parsing import (
    Headers,
    parse_explain,
    parse_id,
    parse_report,
    read_headers,
)
from services.recommender.telling import describe_report, tell_report
from shared.catalog import Catalog
from shared.edge import NOSNIFF, read_request_id
from shared.events import Event
from shared.gate import Gate
from shared.http import ProblemError
from shared.logs import REQUEST_ID
from shared.origin import check_origin
from shared.tracing import Tracing

_JSON = "application/json"
_CONTENT_TYPE = (b"content-type", b"application/json")
_DOMAIN_ERRORS = (
    ProblemError,
    UnknownTrackError,
    ReusedKeyError,
    CatalogExhaustedError,
    StoreUnavailableError,
)


class State(TypedDict):
    """What the lifespan opened."""

    catalog: Catalog
    decider: Decider
    metrics: Metrics
    models: ModelSource
    store: SessionStore
    tracing: Tracing | None
    is_local: bool


async def status(_: Request) -> Response:
    """Answer that the service is alive."""
    return Response(b'{"status":"alive"}', media_type=_JSON)


async def track(request: Request) -> Response:
    """Answer a track of the catalogue."""
    catalog = _state(request)["catalog"]
    row = catalog.row_of.get(parse_id(request.path_params["track"], field="track"))
    if row is None:
        raise ProblemError(404, "No such track", "the catalogue has no such track", field="track")
    return Response(msgspec.json.encode(catalog.tracks[row]), media_type=_JSON)


class Reports:
    """`POST /next/{user}` and `POST /last/{user}`, as bare ASGI.

    A request comes once per playback, so that nothing stands between it and the decision:
    Starlette's requests and responses, its middleware and FastAPI's would more than double its
    cost, and have nothing to do. `openapi.py` describes it.
    """

    def __init__(self, message: Message, state: State, gate: Gate) -> None:
        """Serve one kind of report, as far as the gate lets it in."""
        self._message: Message = message
        self._route = f"/{message}/{{user}}"
        self._state = state
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        headers = read_headers(scope)
        request_id = read_request_id(headers.get(b"x-request-id"))
        REQUEST_ID.set(request_id)
        tracing = self._state["tracing"]
        if tracing is None:
            await self._answer(scope, receive, send, headers, request_id)
            return
        parent = headers.get(b"traceparent", b"").decode("latin-1")
        with tracing.span(f"POST {self._route}", kind="server", parent=parent) as span:
            status, event = await self._answer(scope, receive, send, headers, request_id)
            span.set_attributes(describe_report(self._route, status, event))

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: Headers, request_id: str
    ) -> tuple[int, Event | None]:
        """Answer; return with which status, and the event that was written."""
        metrics = self._state["metrics"]
        started, status, event = metrics.seconds(), 500, None
        try:
            try:
                with self._gate:
                    outcome = await self._decide(scope, receive, headers)
            except _DOMAIN_ERRORS as error:
                response = to_problem(error).to_response()
                response.headers["x-request-id"] = request_id
                status = response.status_code
                await response(scope, receive, send)
            else:
                status, event = 200, outcome.event
                await _send_json(send, outcome.answer, request_id)
        finally:
            duration_s = metrics.seconds() - started
            metrics.requests.observe("POST", self._route, status, duration_s)
            tell_report(self._route, status, duration_s, event)
        return status, event

    async def _decide(self, scope: Scope, receive: Receive, headers: Headers) -> Outcome:
        if b"origin" in headers or b"sec-fetch-site" in headers:  # browsers alone send them
            check_origin(headers, is_local=self._state["is_local"])
        explain = parse_explain(scope)
        user = scope["path"].rpartition("/")[2]
        report = await parse_report(headers, receive, message=self._message, user=user)
        models = self._state["models"].current  # once: an answer is of one moment's versions
        decide = self._state["decider"].decide
        outcome = await self._state["store"].update(
            report.user,
            lambda past, fault: decide(report, past, models, explain=explain, fault=fault),
        )
        if outcome.event is not None:
            self._state["metrics"].count(outcome.event)
        return outcome


class Application(FastAPI):
    """FastAPI's application; the reports do not go through it."""

    reports: Mapping[str, Reports] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Route a request, or the lifespan."""
        if scope["type"] == "http" and scope["method"] == "POST":
            head, _, user = scope["path"].rpartition("/")
            reports = self.reports.get(head)
            if user and reports is not None:
                await reports(scope, receive, send)
                return
        await super().__call__(scope, receive, send)


def make_reports(state: State, *, max_in_flight: int) -> dict[str, Reports]:
    """Make what answers reports, by the path before the user; they share one gate."""
    gate = Gate(max_in_flight)
    return {"/next": Reports("next", state, gate), "/last": Reports("last", state, gate)}


def make_routes(reports: Mapping[str, Reports]) -> list[BaseRoute]:
    """Make the routes.

    Those of reports are here for other methods than POST, which `Application` keeps for itself.
    """
    return [
        Route("/", status, methods=["GET"]),
        Route("/track/{track}", track, methods=["GET"]),
        *(Route(f"{path}/{{user}}", app, methods=["POST"]) for path, app in reports.items()),
    ]


def to_problem(error: Exception) -> ProblemError:
    """Return what a client is told of an error."""
    match error:
        case ProblemError():
            return error
        case UnknownTrackError():
            return ProblemError(422, "Unknown track", str(error), field="track")
        case ReusedKeyError():
            return ProblemError(422, "Key reused", str(error), field="Idempotency-Key")
        case CatalogExhaustedError():
            return ProblemError(409, "Catalogue exhausted", f"{error}; close it with /last")
        case _:
            return ProblemError(503, "Session store unavailable", str(error))


async def _send_json(send: Send, body: bytes, request_id: str) -> None:
    length = (b"content-length", b"%d" % len(body))
    headers = [_CONTENT_TYPE, NOSNIFF, length, (b"x-request-id", request_id.encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _state(request: Request) -> State:
    return cast("State", request.scope["state"])
