"""The HTTP edge: botify's API."""

import logging
from collections.abc import Mapping
from typing import NamedTuple, TypedDict, cast

import msgspec
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route
from starlette.types import Receive, Scope, Send

from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelSource
from services.recommender.adapters.session_store import SessionStore, StoreUnavailableError
from services.recommender.connection_watch import ConnectionWatch
from services.recommender.core.decisions import Decider, Outcome, ReusedKeyError, UnknownTrackError
from services.recommender.core.policies import CatalogExhaustedError
from services.recommender.core.sessions import Message
from services.recommender.parsing import (
    Headers,
    ReadHeaders,
    parse_explain,
    parse_id,
    parse_report,
    read_body,
    read_headers,
)
from services.recommender.telling import describe_report, tell_report
from shared.catalog import Catalog
from shared.edge import NOSNIFF, UNMATCHED, read_request_id
from shared.events import Event
from shared.gate import Gate
from shared.http import ProblemError
from shared.logs import REQUEST_ID
from shared.origin import check_origin
from shared.tracing import Tracing

logger = logging.getLogger(__name__)

_JSON = "application/json"
_JSON_HEADER = (b"content-type", b"application/json")
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


class Reply(NamedTuple):
    """An answer as it goes out."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Reports:
    """`POST /next/{user}` and `POST /last/{user}`.

    A report comes once per playback, so that nothing stands between it and the decision:
    Starlette's requests and responses, its middleware and FastAPI's would more than double its
    cost, and have nothing to do. A `Connection` hands reports over as they come; what runs the
    service by ASGI alone can, too. `openapi.py` describes them.
    """

    def __init__(self, message: Message, state: State, gate: Gate) -> None:
        """Serve one kind of report, as far as the gate lets it in."""
        self._message: Message = message
        self._route = f"/{message}/{{user}}"
        self._state = state
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that comes through ASGI."""
        user, headers = scope["path"].rpartition("/")[2], scope["headers"]
        try:
            body = await read_body(receive, headers)
        except ProblemError as problem:
            reply = self.refuse(problem)
        else:
            reply = await self.answer(user, scope["query_string"], headers, body)
        start = {"type": "http.response.start", "status": reply.status, "headers": reply.headers}
        await send(start)
        await send({"type": "http.response.body", "body": reply.body})

    async def answer(self, user: str, query: bytes, headers: Headers, body: bytes) -> Reply:
        """Answer a report, whatever is wrong with it, or with us.

        Args:
            user: The path's last part.
            query: Of the request.
            headers: Of the request, names in lower case.
            body: Of the request.
        """
        read = read_headers(headers)
        request_id = read_request_id(read.get(b"x-request-id"))
        REQUEST_ID.set(request_id)
        tracing = self._state["tracing"]
        if tracing is None:
            reply, _ = await self._answer(user, query, read, body)
        else:
            parent = read.get(b"traceparent", b"").decode("latin-1")
            with tracing.span(f"POST {self._route}", kind="server", parent=parent) as span:
                reply, event = await self._answer(user, query, read, body)
                span.set_attributes(describe_report(self._route, reply.status, event))
        reply.headers.append((b"x-request-id", request_id.encode()))
        return reply

    async def _answer(
        self, user: str, query: bytes, headers: ReadHeaders, body: bytes
    ) -> tuple[Reply, Event | None]:
        """Answer; return the event that was written, too."""
        metrics = self._state["metrics"]
        started, event = metrics.seconds(), None
        try:
            with self._gate:
                outcome = await self._decide(user, query, headers, body)
            event, length = outcome.event, b"%d" % len(outcome.answer)
            names = [_JSON_HEADER, NOSNIFF, (b"content-length", length)]
            reply = Reply(200, names, outcome.answer)
        except _DOMAIN_ERRORS as error:
            reply = to_reply(to_problem(error))
        except Exception:
            logger.exception("a report was not answered")
            reply = to_reply(ProblemError(500, "Internal error", "see the service's log"))
        duration_s = metrics.seconds() - started
        metrics.requests.observe("POST", self._route, reply.status, duration_s)
        tell_report(self._route, reply.status, duration_s, event)
        return reply, event

    def refuse(self, problem: ProblemError) -> Reply:
        """Answer a report that did not come in."""
        self._state["metrics"].requests.observe("POST", self._route, problem.status, 0.0)
        return to_reply(problem)

    async def _decide(self, user: str, query: bytes, headers: ReadHeaders, body: bytes) -> Outcome:
        if b"origin" in headers or b"sec-fetch-site" in headers:  # browsers alone send them
            check_origin(headers, is_local=self._state["is_local"])
        explain = parse_explain(query)
        report = parse_report(headers, body, message=self._message, user=user)
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

    reports: Mapping[str, Reports]
    watch: ConnectionWatch
    metrics: Metrics

    def refuse(self, problem: ProblemError) -> Reply:
        """Answer what is no request yet, or none that ever was."""
        self.metrics.requests.observe("other", UNMATCHED, problem.status, 0.0)
        return to_reply(problem)

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


def to_reply(problem: ProblemError) -> Reply:
    """Encode a problem."""
    response = problem.to_response()
    return Reply(response.status_code, [*response.raw_headers, NOSNIFF], bytes(response.body))


def _state(request: Request) -> State:
    return cast("State", request.scope["state"])
