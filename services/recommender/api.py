"""The HTTP edge: botify's API."""

from typing import TypedDict, cast

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelSource
from services.recommender.adapters.session_store import SessionStore
from services.recommender.core.decisions import Decider
from services.recommender.core.sessions import Message
from services.recommender.parsing import parse_explain, parse_id, parse_report
from shared.catalog import Catalog
from shared.http import ProblemError

_JSON = "application/json"


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


async def next_(request: Request) -> Response:
    """Report a playback and get the next track; the first report opens a session."""
    return await _answer(request, "next")


async def last(request: Request) -> Response:
    """Report a playback and close the session."""
    return await _answer(request, "last")


async def _answer(request: Request, message: Message) -> Response:
    state = _state(request)
    explain = parse_explain(request)
    report = await parse_report(request, message)
    models = state["models"].current  # once: an answer comes from one moment's versions
    decide = state["decider"].decide
    outcome = await state["store"].update(
        report.user, lambda past: decide(report, past, models, explain=explain)
    )
    if outcome.event is not None:
        state["metrics"].count(outcome.event)
    return Response(outcome.answer, media_type=_JSON)


def make_routes() -> list[BaseRoute]:
    """Make the routes.

    They are Starlette's own: FastAPI would add half as much again to the cost of a request, and
    leave nothing for it to parse. `openapi.py` describes them.
    """
    return [
        Route("/", status, methods=["GET"]),
        Route("/track/{track}", track, methods=["GET"]),
        Route("/next/{user}", next_, methods=["POST"]),
        Route("/last/{user}", last, methods=["POST"]),
    ]


def _state(request: Request) -> State:
    return cast("State", request.scope["state"])
