"""Pages of the experiments."""

import asyncio
import functools
from typing import Any

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from analysis.adapters.measurements import DatabaseError
from analysis.core.comparison import UnknownTreatmentError
from analysis.notes import notes
from services.dashboard.api import ExperimentName, show_experiments
from services.dashboard.charts.curves import draw_effects, draw_sessions, to_curves
from services.dashboard.charts.forest import draw_forest
from services.dashboard.core.results import (
    NoDataError,
    Results,
    Verdict,
    find_deciding,
    judge,
)
from services.dashboard.experiments import Listed
from services.dashboard.refreshed import Known
from services.dashboard.rendering import both_sizes
from services.dashboard.state import State, get_state
from shared.openapi import problems

Values = dict[str, Any]


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.dashboard`."""
    router = APIRouter(tags=["pages"])

    @router.get("/", response_class=RedirectResponse, include_in_schema=False)
    async def start() -> str:
        return "/experiments"

    @router.get(
        "/experiments",
        response_class=HTMLResponse,
        responses=problems(503) | {200: {"content": {"application/json": {}}}},
    )
    async def list_experiments(request: Request) -> Response:
        """Show all experiments; as JSON to who asks for `application/json`."""
        if not wants_html(request):
            shown = [each.model_dump() for each in await show_experiments(request)]
            return JSONResponse(shown, headers={"Vary": "Accept"})
        state = get_state(request)
        response = state.pages.render(request, "experiments.html", await _list(state))
        response.headers["Vary"] = "Accept"
        return response

    @router.get("/experiments/{name}", response_class=HTMLResponse, responses=problems(404, 503))
    async def show_experiment(request: Request, name: ExperimentName) -> Response:
        """Show what an experiment did."""
        state = get_state(request)
        patience_s = state.settings.patience_s
        known = await state.experiments.get_results(name, patience_s=patience_s)
        values = {"name": name, "listed": _find(state, name), "known": known, "absence": None}
        match known.value:
            case Results() as results:
                drawn = await state.drawings.get(name, results, patience_s=patience_s)
                values |= {"results": drawn and results, **(drawn or {})}
            case NoDataError() | UnknownTreatmentError() as error:
                values |= {"results": None, "absence": f"{error}"}
            case None:
                values |= {"results": None}
        return state.pages.render(request, "experiment.html", values)

    return router


def wants_html(request: Request) -> bool:
    """Say whether a client prefers a page: browsers do; `*/*` and JSON get JSON."""
    accept = request.headers.get("Accept", "")
    return "text/html" in accept and not request.url.path.startswith("/api/")


async def _list(state: State) -> Values:
    """Collect what the list shows: it waits for no result."""
    patience_s = state.settings.patience_s
    try:
        users = await state.experiments.get_users(patience_s=patience_s)
    except DatabaseError as error:
        listed = state.experiments.list({})
        return {"rows": [(each, None) for each in listed], "known": Known(None, error=error)}
    listed = state.experiments.list(users.value or {})
    verdicts = await asyncio.gather(*(_judge_one(state, each) for each in listed))
    return {"rows": list(zip(listed, verdicts, strict=True)), "known": users}


async def _judge_one(state: State, listed: Listed) -> Verdict | None:
    if not listed.users:
        return None
    try:
        known = await state.experiments.get_results(
            listed.name, patience_s=state.settings.patience_s
        )
    except DatabaseError:
        return None
    match known.value:
        case Results(comparison=comparison):
            return judge(comparison)
        case NoDataError() | UnknownTreatmentError() as error:
            return Verdict("open", "Nothing to compare", f"{error}")
        case None:
            return None


def _find(state: State, name: str) -> Listed:
    return next(each for each in state.experiments.list({name: {}}) if each.name == name)


def draw_results(results: Results) -> Values:
    """Make what the page of an experiment shows of its results, charts included."""
    comparison = results.comparison
    over_time = tuple(results.effects_over_time.items())
    title = f"Effect on {comparison.rule.metric} over time"
    return {
        "comparison": comparison,
        "verdict": judge(comparison),
        "notes": notes(comparison),
        "width": results.width,
        "deciding": find_deciding(comparison),
        "forest": both_sizes(functools.partial(draw_forest, comparison.effects)),
        "effects_chart": both_sizes(lambda size: draw_effects(over_time, size, title=title)),
        "sessions_chart": both_sizes(
            lambda size: draw_sessions(results.starts_at, to_curves(results.sessions), size)
        ),
    }
