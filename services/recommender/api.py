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
from services.recommender.parsing import parse_explain, parse_id, parse_report
from shared.catalog import Catalog
from shared.http import ProblemError

_JSON = "application/json"
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

    def __init__(self, message: Message, state: State, gate: "Gate") -> None:
        """Serve one kind of report, as far as the gate lets it in."""
        self._message: Message = message
        self._route = f"/{message}/{{user}}"
        self._state = state
        self._gate = gate

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        metrics = self._state["metrics"]
        started, status = metrics.seconds(), 500
        try:
            try:
                with self._gate:
                    outcome = await self._decide(scope, receive)
            except _DOMAIN_ERRORS as error:
                response = to_problem(error).to_response()
                status = response.status_code
                await response(scope, receive, send)
                return
            status = 200
            await _send_json(send, outcome.answer)
        finally:
            metrics.observe_request("POST", self._route, status, metrics.seconds() - started)

    async def _decide(self, scope: Scope, receive: Receive) -> Outcome:
        explain = parse_explain(scope)
        user = scope["path"].rpartition("/")[2]
        report = await parse_report(scope, receive, message=self._message, user=user)
        models = self._state["models"].current  # once: an answer is of one moment's versions
        decide = self._state["decider"].decide
        outcome = await self._state["store"].update(
            report.user,
            lambda past, fault: decide(report, past, models, explain=explain, fault=fault),
        )
        if outcome.event is not None:
            self._state["metrics"].count(outcome.event)
        return outcome


class Gate:
    """Lets only so many in at once: a listener who would wait too long is told so at once."""

    def __init__(self, limit: int) -> None:
        """Open it for `limit`."""
        self._limit = limit
        self._n_inside = 0

    def __enter__(self) -> None:
        """Go in.

        Raises:
            ProblemError: If it is full.
        """
        if self._n_inside >= self._limit:
            detail = f"{self._n_inside} requests are being answered"
            raise ProblemError(429, "Too many requests", detail)
        self._n_inside += 1

    def __exit__(self, *_: object) -> None:
        """Leave."""
        self._n_inside -= 1


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


async def _send_json(send: Send, body: bytes) -> None:
    length = (b"content-length", b"%d" % len(body))
    headers = [(b"content-type", b"application/json"), length]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _state(request: Request) -> State:
    return cast("State", request.scope["state"])
