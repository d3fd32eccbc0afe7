"""The HTTP edge for programs: experiments and results as JSON."""

from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Request
from pydantic import BaseModel

from analysis.core.comparison import UnknownTreatmentError
from analysis.notes import notes
from services.dashboard.core.results import NoDataError, Results, State, judge
from services.dashboard.experiments import Listed
from services.dashboard.state import get_state
from shared.http import MEDIA_TYPE, ProblemError

ExperimentName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]


class ListedExperiment(BaseModel):
    """An experiment.

    Its state is `serving`, or `logged` beside it; `scheduled` before its start, `ended` from its
    end on; `over` if events alone know it.
    """

    name: str
    state: State
    start: datetime | None
    end: datetime | None
    treatments: dict[str, int]
    coverage: float | None
    results: str


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.dashboard`."""
    router = APIRouter()
    problems: dict[int | str, dict[str, Any]] = {
        status: {"description": text, "content": {MEDIA_TYPE: {}}}
        for status, text in (
            (404, "There is no such experiment."),
            (409, "There is nothing to compare yet."),
            (503, "Postgres does not answer."),
        )
    }

    @router.get("/api/experiments", tags=["experiments"], responses={503: problems[503]})
    async def list_experiments(request: Request) -> list[ListedExperiment]:
        """List the experiments, defined or logged, with the users per treatment."""
        return await show_experiments(request)

    @router.get("/api/experiments/{name}/results", tags=["experiments"], responses=problems)
    @router.get("/experiments/{name}/results", tags=["experiments"], responses=problems)
    async def get_results(request: Request, name: ExperimentName) -> dict[str, Any]:
        """Compare an experiment's treatments with its control, as `python -m analysis` does."""
        known = await get_state(request).experiments.get_results(name)
        match known.value:
            case Results() as results:
                return _show(results)
            case NoDataError() | UnknownTreatmentError() as error:
                raise ProblemError(409, "Nothing to compare", f"{name}: {error}")
            case None:
                raise ProblemError(503, "No results", f"{name}: {known.error}")

    return router


async def show_experiments(request: Request) -> list[ListedExperiment]:
    """Answer the list of experiments."""
    experiments = get_state(request).experiments
    known = await experiments.get_users()
    return [_show_listed(listed) for listed in experiments.list(known.value or {})]


def _show_listed(listed: Listed) -> ListedExperiment:
    definition = listed.definition
    arms = [treatment.name for treatment in definition.treatments] if definition else []
    return ListedExperiment(
        name=listed.name,
        state=listed.state,
        start=definition.start if definition else None,
        end=definition.end if definition else None,
        treatments=dict.fromkeys(arms, 0) | dict(listed.users),
        coverage=definition.coverage if definition else None,
        results=f"/api/experiments/{listed.name}/results",
    )


def _show(results: Results) -> dict[str, Any]:
    comparison = results.comparison
    document: dict[str, Any] = msgspec.to_builtins(comparison)
    over_time = {
        treatment: [msgspec.to_builtins(point) for point in points]
        for treatment, points in results.effects_over_time.items()
    }
    return document | {
        "verdict": msgspec.to_builtins(judge(comparison)),
        "notes": notes(comparison),
        "over_time": {
            "starts_at": msgspec.to_builtins(results.starts_at),
            "sessions": results.sessions,
            "effects": over_time,
        },
    }
