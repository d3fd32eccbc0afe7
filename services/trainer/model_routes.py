"""Routes of model versions."""

from typing import Any

import msgspec
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse

from services.trainer.adapters.registry import ListedModel
from services.trainer.core.recommendations import encode_recommendations
from services.trainer.state import get_state
from shared.artifacts import fetch_model
from shared.auth import protect
from shared.catalog_store import fetch_catalog
from shared.http import ProblemError
from shared.openapi import problems

LINES = "application/x-ndjson"


def add_model_routes(router: APIRouter) -> None:
    """Add `/models` and what follows from it."""

    @router.get("/models", tags=["models"], responses=problems(503))
    async def list_models(request: Request) -> list[dict[str, Any]]:
        """List the model versions, newest first."""
        return [_show_model(model) for model in await get_state(request).registry.list_models()]

    @router.post("/models/rollback", tags=["models"], **protect(409, 503))
    async def roll_back(request: Request) -> dict[str, str]:
        """Let the version serve again that served before; again leads further back."""
        return {"active": await get_state(request).registry.roll_back()}

    @router.get("/models/{version}", tags=["models"], responses=problems(404, 503))
    async def get_model(request: Request, version: str) -> dict[str, Any]:
        """Describe a model version."""
        return _show_model(await get_state(request).registry.get_model(version))

    @router.post("/models/{version}/activate", tags=["models"], **protect(404, 503))
    async def activate(request: Request, version: str) -> dict[str, str]:
        """Let a version serve."""
        await get_state(request).registry.activate(version)
        return {"active": version}

    @router.get(
        "/models/{version}/tracks_with_recs",
        tags=["models"],
        responses=problems(404, 409, 503) | {200: {"content": {LINES: {}}}},
        response_class=StreamingResponse,
    )
    async def get_tracks_with_recs(request: Request, version: str) -> StreamingResponse:
        """Stream a version's neighbours as botify's `tracks_with_recs.json`."""
        redis = get_state(request).redis
        model = await fetch_model(redis, version, only=["neighbours"])
        catalog = await fetch_catalog(redis)
        if catalog.checksum != model.manifest.catalog_checksum:
            detail = f"{version} is of another catalogue than the one in Redis"
            raise ProblemError(409, "Other catalogue", detail)
        if "neighbours" not in model.arrays:
            raise ProblemError(404, "No neighbours", f"{version} recommends nothing after a track")
        lines = encode_recommendations(catalog, model.arrays["neighbours"])
        return StreamingResponse(lines, media_type=LINES)


def _show_model(model: ListedModel) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(model.manifest)
    return shown | {"active": model.active, "available": model.available}
