"""Routes of trainings: start, follow, cancel, resume, and what they left."""

from typing import Annotated, Any
from uuid import UUID

import msgspec
from fastapi import APIRouter, Header, Query, Request, Response
from fastapi.responses import FileResponse, StreamingResponse

from services.trainer.adapters.artifact_files import MEDIA_TYPES
from services.trainer.adapters.job_folder import JobFolder
from services.trainer.adapters.job_store import Job
from services.trainer.event_stream import count_events, stream_events
from services.trainer.jobs import NoSuchJobError
from services.trainer.progress import OUTCOME
from services.trainer.scheduler import show_scheduler
from services.trainer.state import State, get_state
from services.trainer.train_request import TrainRequest
from shared.auth import protect
from shared.http import ProblemError
from shared.openapi import problems

EVENT_STREAM = "text/event-stream"
EVENT_RESPONSES = problems(404, 503) | {
    200: {"description": "Events as they happen.", "content": {EVENT_STREAM: {}}},
    204: {"description": "The training is over, and the client knows its end."},
}


def add_training_routes(router: APIRouter) -> None:
    """Add `/train`, what follows from it, and `/schedule`."""
    _add_jobs(router)
    _add_job_control(router)
    _add_artifacts(router)

    @router.get("/schedule", tags=["training"])
    async def get_schedule(request: Request) -> dict[str, Any]:
        """Tell when trainings start by themselves, and what became of the last one."""
        state = get_state(request)
        parameters = state.settings.schedule_parameters.model_dump(mode="json")
        shown = {"schedule": state.settings.schedule, "parameters": parameters}
        return shown | show_scheduler(state.scheduler)


def _add_jobs(router: APIRouter) -> None:
    @router.post("/train", tags=["training"], status_code=202, **protect(400, 409, 503))
    async def start_training(
        request: Request, response: Response, body: TrainRequest | None = None
    ) -> dict[str, Any]:
        """Start a training; 409 while one is running."""
        parameters = (body or TrainRequest()).to_parameters()
        job = await get_state(request).runner.start(parameters)
        response.headers["Location"] = f"/train/{job.job_id}"
        return _show_job(job)

    @router.get("/train", tags=["training"], responses=problems(503))
    async def list_trainings(
        request: Request, limit: Annotated[int, Query(ge=1, le=100)] = 20
    ) -> list[dict[str, Any]]:
        """List the newest trainings."""
        return [_show_job(job) for job in await get_state(request).jobs.get_newest(limit=limit)]

    @router.get("/train/{job_id}", tags=["training"], responses=problems(404, 503))
    async def get_training(request: Request, job_id: UUID) -> dict[str, Any]:
        """Tell how far a training is."""
        return _show_job(await _find_job(get_state(request), job_id))


def _add_job_control(router: APIRouter) -> None:
    @router.post("/train/{job_id}/cancel", tags=["training"], **protect(404, 409, 503))
    async def cancel_training(request: Request, job_id: UUID) -> dict[str, Any]:
        """Stop a training; 409 if it is over or has published its version."""
        return _show_job(await get_state(request).runner.cancel(job_id))

    @router.post(
        "/train/{job_id}/resume",
        tags=["training"],
        status_code=202,
        **protect(404, 409, 503),
    )
    async def resume_training(request: Request, job_id: UUID) -> dict[str, Any]:
        """Let a failed, interrupted or cancelled training go on from its checkpoint."""
        return _show_job(await get_state(request).runner.resume(job_id))

    @router.get(
        "/train/{job_id}/events",
        tags=["training"],
        response_class=StreamingResponse,
        responses=EVENT_RESPONSES,
    )
    async def follow_training(
        request: Request,
        job_id: UUID,
        last_event_id: Annotated[int, Header(ge=0)] = 0,
    ) -> Response:
        """Stream a training's progress as server-sent events, to its end; 204 beyond it."""
        state = get_state(request)
        job = await _find_job(state, job_id)
        if job.status != "running" and last_event_id > count_events(job):
            return Response(status_code=204)  # tells the client not to ask again
        heartbeat_s = state.settings.heartbeat_s
        events = stream_events(
            state.jobs, state.runner, job_id, after=last_event_id, heartbeat_s=heartbeat_s
        )
        headers = {"Cache-Control": "no-cache", "X-Accel-Buffering": "no"}
        return StreamingResponse(events, media_type=EVENT_STREAM, headers=headers)


def _add_artifacts(router: APIRouter) -> None:
    @router.get("/train/{job_id}/artifacts", tags=["training"], responses=problems(404, 503))
    async def list_artifacts(request: Request, job_id: UUID) -> list[dict[str, Any]]:
        """List the pictures and tables that a training left."""
        state = get_state(request)
        await _find_job(state, job_id)
        return [
            {"name": path.name, "bytes": path.stat().st_size}
            for path in JobFolder(state.settings.folder, job_id).list_artifacts()
        ]

    @router.get(
        "/train/{job_id}/artifacts/{name}",
        tags=["training"],
        response_class=FileResponse,
        responses=problems(404, 503),
    )
    async def get_artifact(request: Request, job_id: UUID, name: str) -> FileResponse:
        """Send a picture or a table."""
        # Only what is listed: no name leads out of the folder.
        found = JobFolder(get_state(request).settings.folder, job_id).list_artifacts()
        path = next((path for path in found if path.name == name), None)
        if path is None:
            raise ProblemError(404, "No such artifact", f"job {job_id} left no {name}")
        return FileResponse(path, media_type=MEDIA_TYPES.get(path.suffix))


async def _find_job(state: State, job_id: UUID) -> Job:
    job = await state.jobs.get(job_id)
    if job is None:
        raise NoSuchJobError(f"there is no job {job_id}")
    return job


def _show_job(job: Job) -> dict[str, Any]:
    """Show a job: what came of it beside how far it is, its events only as a stream."""
    shown: dict[str, Any] = msgspec.to_builtins(job)
    progress = {k: v for k, v in job.progress.items() if k not in {"events", *OUTCOME}}
    outcome = {name: job.progress.get(name) for name in OUTCOME}
    return shown | {"progress": progress} | outcome
