"""The pages on which one listens oneself."""

import secrets
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from services.dashboard.adapters.catalog import CatalogAwayError
from services.dashboard.adapters.peers import PeerAwayError, PeerRefusalError
from services.dashboard.core.listening import Answer, Heard, Listener, pick_user
from services.dashboard.core.track_search import TrackIndex
from services.dashboard.state import State, get_state
from shared.catalog import Track
from shared.events import MAX_ID
from shared.http import ProblemError
from shared.openapi import problems

ListenerToken = Annotated[str, Path(min_length=8, max_length=64, pattern=r"^[A-Za-z0-9_-]+$")]
FORM = {"requestBody": {"content": {"application/x-www-form-urlencoded": {}}, "required": True}}
N_SUGGESTED = 8


def create_router() -> APIRouter:
    """Create the routes; they find their `State` as `request.state.dashboard`."""
    router = APIRouter(tags=["pages"])
    _add_start(router)
    _add_session(router)
    return router


def _add_start(router: APIRouter) -> None:
    @router.get("/listen", response_class=HTMLResponse)
    async def choose(
        request: Request,
        q: Annotated[str, Query(max_length=200)] = "",
        arm: Annotated[str, Query(max_length=100)] = "",
    ) -> Response:
        """Search a first track, and choose who recommends."""
        state = get_state(request)
        arms = state.experiments.serving.treatments
        chosen = arm if arm in {each.name for each in arms} else arms[-1].name
        values = {"q": q, "arms": arms, "chosen": chosen, "experiment": state.experiments.serving}
        try:
            index = await state.catalog.get()
        except CatalogAwayError as error:
            values |= {"tracks": [], "fault": str(error), "n_tracks": 0}
        else:
            tracks = index.search(q) if q.strip() else _suggest(index)
            values |= {"tracks": tracks, "fault": None, "n_tracks": len(index)}
        return state.pages.render(request, "listen.html", values)

    @router.post(
        "/listen",
        response_class=RedirectResponse,
        status_code=303,
        openapi_extra=FORM,
        responses=problems(422, 503),
    )
    async def start(request: Request) -> Response:
        """Start a session with a track and an arm, as the form says."""
        state = get_state(request)
        form = await state.pages.tokens.read_form(request)
        track = await _find_track(state, form.get("track", ""))
        user = pick_user(state.experiments.serving, form.get("arm", ""), draw=secrets.randbelow)
        listener = Listener(secrets.token_urlsafe(12), user, form["arm"], [Heard(track=track)])
        state.listeners.add(listener)
        return RedirectResponse(f"/listen/{listener.token}", status_code=303)


def _add_session(router: APIRouter) -> None:
    @router.get("/listen/{token}", response_class=HTMLResponse, responses=problems(404))
    async def show(request: Request, token: ListenerToken) -> Response:
        """Show what plays, what was heard, and why."""
        state = get_state(request)
        values = {"listener": _find(state, token), "experiment": state.experiments.serving}
        return state.pages.render(request, "session.html", values)

    @router.post(
        "/listen/{token}",
        response_class=RedirectResponse,
        status_code=303,
        openapi_extra=FORM,
        responses=problems(404, 409, 422, 503),
    )
    async def report(request: Request, token: ListenerToken) -> Response:
        """Say how much one listened, and get the next track or end, as the form says."""
        state = get_state(request)
        form = await state.pages.tokens.read_form(request)
        listener = _find(state, token)
        # A form that was sent twice, or from an old page, reports nothing again.
        if listener.playing is not None and form.get("position") == str(len(listener.heard)):
            await _report(state, listener, form)
        return RedirectResponse(f"/listen/{token}", status_code=303)


async def _report(state: State, listener: Listener, form: dict[str, str]) -> None:
    """Report to the recommender, and note its answer."""
    time, is_last = _parse_time(form.get("time", "")), form.get("then") == "end"
    heard = listener.heard[-1]
    path = f"/last/{listener.user}" if is_last else f"/next/{listener.user}?explain=1"
    body = {"track": heard.track.track, "time": time}
    headers = {"Idempotency-Key": f"{listener.token}-{len(listener.heard)}"}
    try:
        document = await state.peers.recommender.post(path, body, headers=headers)
    except PeerRefusalError as error:
        raise ProblemError(409, "Refused", f"the recommender refuses: {error}") from error
    if is_last:
        listener.end(time)
    else:
        answer = _read_answer(document)
        listener.go_on(time, await _show_track(state, answer.track), answer)
    state.listeners.add(listener)


def _read_answer(document: Any) -> Answer:
    try:
        return msgspec.convert(document, Answer)
    except msgspec.ValidationError as error:
        raise PeerAwayError(f"the recommender answers otherwise than agreed: {error}") from error


def _suggest(index: TrackIndex) -> list[Track]:
    """Draw some tracks, for those with no name in mind."""
    return [index.at(secrets.randbelow(len(index))) for _ in range(N_SUGGESTED)]


async def _find_track(state: State, text: str) -> Track:
    index = await state.catalog.get()
    is_id = text.isascii() and text.isdecimal() and len(text) <= len(str(MAX_ID))
    track = index.find(int(text)) if is_id else None
    if track is None:
        raise ProblemError(422, "No such track", "the catalogue has no such track", field="track")
    return track


async def _show_track(state: State, track_id: int) -> Track:
    """Return a recommended track; one that the catalogue here lacks has no name."""
    track = (await state.catalog.get()).find(track_id)
    return track or Track(track=track_id, artist="Unknown artist", title=f"Track {track_id}")


def _find(state: State, token: str) -> Listener:
    listener = state.listeners.find(token)
    if listener is None:
        raise ProblemError(
            404, "No such session", "this session is over, or was too long in silence"
        )
    return listener


def _parse_time(text: str) -> float:
    try:
        percent = int(text)
    except ValueError:
        percent = -1
    if not 0 <= percent <= 100:
        raise ProblemError(
            422, "Invalid time", "how much was listened is 0 to 100 percent", field="time"
        )
    return percent / 100
