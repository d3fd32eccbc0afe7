"""The page of what happens now."""

import asyncio

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse
from markupsafe import Markup

from analysis.core.activity import Minute
from services.dashboard.charts.minutes import draw_minutes
from services.dashboard.rendering import both_sizes
from services.dashboard.state import get_state


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.dashboard`."""
    router = APIRouter(tags=["pages"])

    @router.get("/live", response_class=HTMLResponse)
    async def show_live(request: Request) -> Response:
        """Show requests, lag and fallbacks, from the services and the log."""
        state = get_state(request)
        reading = await state.pulse.read()
        minutes = tuple(reading.minutes or ())
        chart = await asyncio.to_thread(_draw, minutes) if minutes else None
        values = {"reading": reading, "chart": chart}
        return state.pages.render(request, "live.html", values)

    return router


def _draw(minutes: tuple[Minute, ...]) -> Markup:
    return both_sizes(lambda size: draw_minutes(minutes, size))
