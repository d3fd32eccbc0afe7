"""The trainer's HTTP edge."""

from dataclasses import dataclass
from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from redis.asyncio import Redis

from services.trainer.adapters.job_store import Job, JobStore
from services.trainer.adapters.registry import ListedModel, Registry
from services.trainer.core.parameters import DEFAULT_DIMS, RecipeName, TrainingParameters
from services.trainer.core.recommendations import encode_recommendations
from services.trainer.jobs import JobRunner
from shared.artifacts import fetch_catalog, fetch_model
from shared.http import ProblemError

LINES = "application/x-ndjson"


class TrainRequest(BaseModel):
    """What `POST /train` may say; `TrainingParameters` documents the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    recipe: RecipeName = "artist_concat"
    dim: Annotated[int | None, Field(ge=1, le=256)] = None  # by the recipe
    epochs: Annotated[int, Field(ge=1, le=200)] = TrainingParameters.epochs
    learning_rate: Annotated[float, Field(gt=0, le=1)] = TrainingParameters.learning_rate
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = TrainingParameters.batch_size
    neighbours: Annotated[int, Field(ge=1, le=500)] = TrainingParameters.neighbours
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = TrainingParameters.seed
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    activate: bool = TrainingParameters.activate

    @model_validator(mode="after")
    def check_window(self) -> "TrainRequest":
        """Refuse a window that ends before it begins."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must be before until")
        return self

    def to_parameters(self) -> TrainingParameters:
        """Return them as the core takes them."""
        dim = DEFAULT_DIMS[self.recipe] if self.dim is None else self.dim
        return TrainingParameters(**(self.model_dump() | {"dim": dim}))


@dataclass(frozen=True)
class State:
    """What the routes use, from the start to the end of the application."""

    runner: JobRunner
    jobs: JobStore
    registry: Registry
    redis: Redis


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.trainer`."""
    router = APIRouter()
    _add_training(router)
    _add_models(router)
    return router


def _add_training(router: APIRouter) -> None:
    @router.post("/train", tags=["training"], status_code=202)
    async def start_training(
        request: Request, response: Response, body: TrainRequest | None = None
    ) -> dict[str, Any]:
        """Start a training; 409 while one is running."""
        parameters = (body or TrainRequest()).to_parameters()
        job = await _state(request).runner.start(parameters)
        response.headers["Location"] = f"/train/{job.job_id}"
        return _show_job(job)

    @router.get("/train", tags=["training"])
    async def list_trainings(
        request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> list[dict[str, Any]]:
        """List the newest trainings."""
        return [_show_job(job) for job in await _state(request).jobs.get_newest(limit=limit)]

    @router.get("/train/{job_id}", tags=["training"])
    async def get_training(request: Request, job_id: UUID) -> dict[str, Any]:
        """Tell how far a training is."""
        job = await _state(request).jobs.get(job_id)
        if job is None:
            raise ProblemError(404, "No such training", f"there is no job {job_id}")
        return _show_job(job)


def _add_models(router: APIRouter) -> None:
    @router.get("/models", tags=["models"])
    async def list_models(request: Request) -> list[dict[str, Any]]:
        """List the model versions, newest first."""
        return [_show_model(model) for model in await _state(request).registry.list_models()]

    @router.post("/models/rollback", tags=["models"])
    async def roll_back(request: Request) -> dict[str, str]:
        """Let the version serve again that served before; again leads further back."""
        return {"active": await _state(request).registry.roll_back()}

    @router.get("/models/{version}", tags=["models"])
    async def get_model(request: Request, version: str) -> dict[str, Any]:
        """Describe a model version."""
        return _show_model(await _state(request).registry.get_model(version))

    @router.post("/models/{version}/activate", tags=["models"])
    async def activate(request: Request, version: str) -> dict[str, str]:
        """Let a version serve."""
        await _state(request).registry.activate(version)
        return {"active": version}

    @router.get("/models/{version}/tracks_with_recs", tags=["models"])
    async def get_tracks_with_recs(request: Request, version: str) -> StreamingResponse:
        """Stream a version's neighbours as botify's `tracks_with_recs.json`."""
        redis = _state(request).redis
        model = await fetch_model(redis, version, only=["neighbours"])
        catalog = await fetch_catalog(redis)
        if catalog.checksum != model.manifest.catalog_checksum:
            detail = f"{version} is of another catalogue than the one in Redis"
            raise ProblemError(409, "Other catalogue", detail)
        if "neighbours" not in model.arrays:
            raise ProblemError(404, "No neighbours", f"{version} recommends nothing after a track")
        lines = encode_recommendations(catalog, model.arrays["neighbours"])
        return StreamingResponse(lines, media_type=LINES)


def _state(request: Request) -> State:
    state: State = request.state.trainer
    return state


def _show_job(job: Job) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(job)
    return shown


def _show_model(model: ListedModel) -> dict[str, Any]:
    shown: dict[str, Any] = msgspec.to_builtins(model.manifest)
    return shown | {"active": model.active, "available": model.available}
