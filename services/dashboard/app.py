"""The dashboard's composition root."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypedDict

import httpx
import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.types import Receive, Scope, Send

from analysis.adapters.measurements import DatabaseError
from services.dashboard import api, listen_pages, live_pages, model_pages, pages
from services.dashboard.adapters.catalog import (
    CatalogAwayError,
    CatalogHolder,
    FetchCatalog,
    fetch_from,
)
from services.dashboard.adapters.maps import Maps
from services.dashboard.adapters.peers import Peer, PeerAwayError, Peers
from services.dashboard.adapters.results import PostgresResults, ResultsSource
from services.dashboard.core.listening import Listeners, NoSuchArmError
from services.dashboard.drawings import Drawings
from services.dashboard.experiments import Experiments, UnknownExperimentError
from services.dashboard.pulse import Pulse
from services.dashboard.rendering import STATIC, Pages
from services.dashboard.settings import Settings
from services.dashboard.state import State
from services.dashboard.tokens import Tokens
from shared.auth import install_token
from shared.definitions import load_experiments
from shared.edge import EdgeOptions, install_edge
from shared.exposure import make_authorization
from shared.http import (
    ProblemError,
    install_error_map,
    install_operations,
    install_problem_handlers,
)
from shared.redis_client import create_redis
from shared.tracing import Tracing, close_tracing, create_tracing

PROBLEMS: Mapping[type[Exception], tuple[int, str]] = {
    UnknownExperimentError: (404, "No such experiment"),
    NoSuchArmError: (422, "No such treatment"),
    DatabaseError: (503, "Database unavailable"),
    CatalogAwayError: (503, "Catalogue unavailable"),
    PeerAwayError: (503, "Service unavailable"),
}


# Of a problem, on its page too: what lets a browser ask for the token, or come back.
_KEPT = ("WWW-Authenticate", "Retry-After")


@dataclass(frozen=True)
class Adapters:
    """What a test may replace; None is made from the settings."""

    results: ResultsSource | None = None
    peers: Peers | None = None
    fetch_catalog: FetchCatalog | None = None
    tracing: Tracing | None = None
    seconds: Callable[[], float] = field(default=time.monotonic)
    now: Callable[[], datetime] = field(default=lambda: datetime.now(UTC))


class LifespanState(TypedDict):
    """What lives as long as the application, for `request.state`."""

    dashboard: State


def create_app(settings: Settings, adapters: Adapters | None = None) -> FastAPI:
    """Create the service.

    Args:
        settings: Of this process.
        adapters: What it reaches outside; by default what the settings say.

    Raises:
        InvalidExperimentsError: If the experiments' definitions cannot be read.
        ExposedError: If strangers could tell it what serves.
    """
    settings.check_exposure(settings.host)
    adapters = adapters or Adapters()
    source = adapters.results or PostgresResults(settings.postgres_dsn)
    experiments = Experiments(
        source,
        load_experiments(settings.experiments),
        fresh_s=settings.fresh_s,
        seconds=adapters.seconds,
        now=adapters.now,
    )
    page_maker = Pages(Tokens())
    tracing = adapters.tracing or create_tracing("dashboard")
    registry = CollectorRegistry()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[LifespanState]:
        async with contextlib.AsyncExitStack() as stack:
            stack.push_async_callback(close_tracing, tracing)
            stack.push_async_callback(experiments.close)
            opened = _open_state(
                settings, adapters, experiments=experiments, source=source, page_maker=page_maker
            )
            yield {"dashboard": await stack.enter_async_context(opened)}

    async def ready() -> dict[str, str]:
        return await _check(experiments)

    app = FastAPI(
        title="Segue dashboard", version="1", lifespan=lifespan, docs_url=None, redoc_url=None
    )
    for module in (api, pages, model_pages, live_pages, listen_pages):
        app.include_router(module.create_router())
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(TrustedHosts, allowed_hosts=list(settings.allowed_hosts))
    install_problem_handlers(app)
    install_error_map(app, PROBLEMS)
    _show_problems_as_pages(app, page_maker)
    install_operations(app, ready=ready, registry=registry)
    install_token(app, settings.api_token)
    install_edge(app, EdgeOptions(service="dashboard", tracing=tracing), registry=registry)
    return app


class TrustedHosts(TrustedHostMiddleware):
    """Answers browsers under our own names alone; probes and Prometheus come by address."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check a request's host, unless it asks how the service fares."""
        if scope["type"] == "http" and scope["path"].startswith(("/health/", "/metrics")):
            await self.app(scope, receive, send)
            return
        await super().__call__(scope, receive, send)


@contextlib.asynccontextmanager
async def _open_state(
    settings: Settings,
    adapters: Adapters,
    *,
    experiments: Experiments,
    source: ResultsSource,
    page_maker: Pages,
) -> AsyncIterator[State]:
    """Connect to the others, and close what pages need when the application ends."""
    async with contextlib.AsyncExitStack() as stack:
        peers = adapters.peers or await _connect(settings, stack)
        fetch = adapters.fetch_catalog
        if fetch is None:
            redis = create_redis(settings.redis_url, timeout_s=settings.request_timeout_s)
            fetch = fetch_from(await stack.enter_async_context(redis))
        drawings = Drawings(pages.draw_results)
        stack.push_async_callback(drawings.close)
        yield State(
            settings=settings,
            experiments=experiments,
            drawings=drawings,
            peers=peers,
            catalog=CatalogHolder(fetch, seconds=adapters.seconds),
            maps=Maps(peers),
            listeners=Listeners(timeout_s=settings.listening_timeout_s, seconds=adapters.seconds),
            pulse=Pulse(peers, source, now=adapters.now, seconds=adapters.seconds),
            pages=page_maker,
        )


async def _connect(settings: Settings, stack: contextlib.AsyncExitStack) -> Peers:
    peers = {}
    for name in ("recommender", "trainer", "logger"):
        client = httpx.AsyncClient(
            base_url=getattr(settings, f"{name}_url"), timeout=settings.request_timeout_s
        )
        # Only who changes something for it is shown the token.
        headers = make_authorization(settings.api_token) if name == "trainer" else {}
        peers[name] = Peer(name, await stack.enter_async_context(client), headers=headers)
    return Peers(**peers)


def _show_problems_as_pages(app: FastAPI, page_maker: Pages) -> None:
    """Answer a browser's problem by a page; programs get problem details."""

    def wrap(kind: type[Exception]) -> None:
        answer: Any = app.exception_handlers[kind]

        async def handle(request: Request, error: Exception) -> Response:
            response: Response = await answer(request, error)
            if not pages.wants_html(request):
                return response
            values = describe(bytes(response.body))
            page = page_maker.render(request, "error.html", values, status=response.status_code)
            kept = {name: response.headers[name] for name in _KEPT if name in response.headers}
            page.headers.update(kept)
            return page

        app.add_exception_handler(kind, handle)

    for kind in (ProblemError, HTTPException, RequestValidationError, *PROBLEMS):
        wrap(kind)


def describe(problem: bytes) -> dict[str, str]:
    """Return what a reader is told of problem details: a title, and a sentence."""
    body = msgspec.json.decode(problem)
    detail = body["detail"].rstrip(".")
    return {"title": body["title"], "detail": f"{detail[:1].upper()}{detail[1:]}."}


async def _check(experiments: Experiments) -> dict[str, str]:
    try:
        async with asyncio.timeout(2):
            await experiments.ping()
    except (DatabaseError, OSError, TimeoutError) as error:
        return {"postgres": f"down: {error}"}
    return {"postgres": "ok"}
