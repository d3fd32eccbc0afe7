"""Pages of the model versions: what they are, which serves, and how to change that."""

import asyncio
from typing import Annotated, Any, Literal
from uuid import UUID

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from markupsafe import Markup

from services.dashboard.adapters.catalog import CatalogAwayError
from services.dashboard.adapters.maps import MAP_NAME
from services.dashboard.adapters.peers import JSON, PeerAwayError, PeerRefusalError
from services.dashboard.charts.curves import Curves, draw_losses
from services.dashboard.core.model_history import find_job, find_losses, make_rows
from services.dashboard.core.track_map import Colouring, TrackMap
from services.dashboard.rendering import HEADERS, both_sizes
from services.dashboard.state import State, get_state
from shared.auth import protect_page
from shared.http import ProblemError
from shared.openapi import problems

VersionName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
FileName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_-]+\.[a-z]+$")]
FORM = {"requestBody": {"content": {"application/x-www-form-urlencoded": {}}, "required": True}}


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.dashboard`."""
    router = APIRouter(tags=["pages"])
    _add_pages(router)
    _add_changes(router)
    return router


def _add_pages(router: APIRouter) -> None:
    @router.get("/models", response_class=HTMLResponse)
    async def list_models(
        request: Request, done: Literal["activation", "rollback"] | None = None
    ) -> Response:
        """Show the model versions, newest first, and the latest trainings."""
        state = get_state(request)
        try:
            models = await state.peers.trainer.get("/models")
            jobs = await state.peers.trainer.get("/train?limit=5")
        except (PeerAwayError, PeerRefusalError) as error:
            fault: dict[str, Any] = {"rows": [], "jobs": [], "fault": str(error), "done": None}
            return state.pages.render(request, "models.html", fault)
        values = {"rows": make_rows(models), "jobs": jobs, "fault": None, "done": done}
        return state.pages.render(request, "models.html", values)

    @router.get("/models/{version}", response_class=HTMLResponse, responses=problems(404, 503))
    async def show_model(
        request: Request,
        version: VersionName,
        q: Annotated[str, Query(max_length=200)] = "",
        colours: Colouring = "genre",
    ) -> Response:
        """Show where a model version came from, how it learnt, how good it is, and its map."""
        state = get_state(request)
        model = await _fetch_model(state, version)
        job = find_job(await state.peers.trainer.get("/train?limit=100"), version)
        losses = find_losses(job)
        chart = await asyncio.to_thread(_draw, *losses) if losses else None
        artifacts = await _list_artifacts(state, job)
        drawn = await _draw_map(state, job, artifacts, query=q, by=colours)
        values = {
            **{"model": model, "job": job, "losses": chart, "artifacts": artifacts},
            **{"map": drawn, "q": q, "colours": colours},
        }
        return state.pages.render(request, "model.html", values)

    @router.get(
        "/trainings/{job_id}/artifacts/{name}",
        response_class=Response,
        responses=problems(404, 503) | {200: {"content": {"image/png": {}, "text/csv": {}}}},
    )
    async def get_artifact(request: Request, job_id: UUID, name: FileName) -> Response:
        """Pass on a picture or a table that a training left."""
        trainer = get_state(request).peers.trainer
        try:
            content, media_type = await trainer.get_file(f"/train/{job_id}/artifacts/{name}")
        except PeerRefusalError as error:
            raise ProblemError(404, "No such artifact", str(error)) from error
        headers = HEADERS | {"Cache-Control": "private, max-age=3600"}
        return Response(content, media_type=media_type, headers=headers)


def _add_changes(router: APIRouter) -> None:
    @router.get(
        "/models/{version}/activate", response_class=HTMLResponse, responses=problems(404, 503)
    )
    async def confirm_activation(request: Request, version: VersionName) -> Response:
        """Ask whether a version is to serve."""
        state = get_state(request)
        values = {"kind": "activate", "model": await _fetch_model(state, version)}
        return state.pages.render(request, "confirm.html", values)

    @router.get("/rollback", response_class=HTMLResponse, responses=problems(503))
    async def confirm_rollback(request: Request) -> Response:
        """Ask whether the version that served before is to serve again."""
        state = get_state(request)
        models = await state.peers.trainer.get("/models")
        active = next((model for model in models if model["active"]), None)
        return state.pages.render(request, "confirm.html", {"kind": "rollback", "model": active})

    @router.post(
        "/models/{version}/activate",
        response_class=RedirectResponse,
        status_code=303,
        openapi_extra=FORM,
        **protect_page(409, 503),
    )
    async def activate(request: Request, version: VersionName) -> Response:
        """Let a version serve; the form is that of the page that asks."""
        return await _change(request, f"/models/{version}/activate", done="activation")

    @router.post(
        "/rollback",
        response_class=RedirectResponse,
        status_code=303,
        openapi_extra=FORM,
        **protect_page(409, 503),
    )
    async def roll_back(request: Request) -> Response:
        """Let the version serve again that served before; likewise."""
        return await _change(request, "/models/rollback", done="rollback")


def _draw(epochs: tuple[int, ...], curves: Curves) -> Markup:
    return both_sizes(lambda size: draw_losses(epochs, curves, size))


async def _draw_map(
    state: State, job: JSON | None, artifacts: list[str], *, query: str, by: Colouring
) -> TrackMap | None:
    """Draw the map that a training left, with the catalogue's names; None without either."""
    if job is None or MAP_NAME not in artifacts:
        return None
    placed = await state.maps.get(job["job_id"])
    try:
        index = await state.catalog.get()
    except CatalogAwayError:
        return None
    if placed is None:
        return None
    return await asyncio.to_thread(placed.draw, index, by=by, query=query)


async def _change(request: Request, path: str, *, done: str) -> Response:
    state = get_state(request)
    await state.pages.tokens.read_form(request)
    try:
        answer = await state.peers.trainer.post(path)
    except PeerRefusalError as error:
        raise ProblemError(409, "Not changed", f"the trainer refuses: {error}") from error
    return RedirectResponse(f"/models?done={done}#{answer['active']}", status_code=303)


async def _fetch_model(state: State, version: str) -> dict[str, Any]:
    try:
        model: dict[str, Any] = await state.peers.trainer.get(f"/models/{version}")
    except PeerRefusalError as error:
        raise ProblemError(error.status, "No such model version", str(error)) from error
    return model


async def _list_artifacts(state: State, job: dict[str, Any] | None) -> list[str]:
    """List the pictures that a version's training left; none if the trainer keeps none."""
    if job is None:
        return []
    try:
        listed = await state.peers.trainer.get(f"/train/{job['job_id']}/artifacts")
    except PeerRefusalError:
        return []
    return [each["name"] for each in listed]
