"""The HTTP edge: botify's API."""

from typing import TypedDict, cast

import msgspec
from fastapi import APIRouter, Request, Response

from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelSource
from services.recommender.adapters.session_store import SessionStore
from services.recommender.core.decisions import Decider
from services.recommender.core.sessions import Message
from services.recommender.openapi import (
    describe_last,
    describe_next,
    describe_status,
    describe_track,
)
from services.recommender.parsing import parse_id, parse_report
from shared.catalog import Catalog
from shared.http import ProblemError

router = APIRouter(default_response_class=Response)

_JSON = "application/json"


class State(TypedDict):
    """What the lifespan opened."""

    catalog: Catalog
    decider: Decider
    metrics: Metrics
    models: ModelSource
    store: SessionStore


@router.get("/", tags=["botify"], openapi_extra=describe_status())
async def status() -> Response:
    """Answer that the service is alive."""
    return Response(b'{"status":"alive"}', media_type=_JSON)


@router.get("/track/{track}", tags=["botify"], openapi_extra=describe_track())
async def track(request: Request) -> Response:
    """Answer a track of the catalogue."""
    catalog = _state(request)["catalog"]
    row = catalog.row_of.get(parse_id(request.path_params["track"], field="track"))
    if row is None:
        raise ProblemError(404, "No such track", "the catalogue has no such track", field="track")
    return Response(msgspec.json.encode(catalog.tracks[row]), media_type=_JSON)


@router.post("/next/{user}", tags=["botify"], openapi_extra=describe_next())
async def next_(request: Request) -> Response:
    """Report a playback and get the next track; the first report opens a session."""
    return await _answer(request, "next")


@router.post("/last/{user}", tags=["botify"], openapi_extra=describe_last())
async def last(request: Request) -> Response:
    """Report a playback and close the session."""
    return await _answer(request, "last")


async def _answer(request: Request, message: Message) -> Response:
    state = _state(request)
    report = await parse_report(request, message)
    models = state["models"].current  # once: an answer comes from one moment's versions
    decide = state["decider"].decide
    outcome = await state["store"].update(report.user, lambda past: decide(report, past, models))
    if outcome.event is not None:
        state["metrics"].count(outcome.event)
    return Response(outcome.answer, media_type=_JSON)


def _state(request: Request) -> State:
    return cast("State", request.scope["state"])
