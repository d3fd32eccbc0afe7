"""Composition of the recommender."""

import contextlib
import gc
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field

from fastapi import FastAPI

from services.recommender.adapters.definition_announcer import Announcer, DefinitionAnnouncer
from services.recommender.adapters.metrics import Metrics
from services.recommender.adapters.model_holder import ModelHolder, ModelSource
from services.recommender.adapters.parent_watch import end_with_parent
from services.recommender.adapters.session_store import (
    SessionStore,
    StoreUnavailableError,
)
from services.recommender.adapters.shared_arrays import SharedArrays
from services.recommender.api import Application, State, make_reports, make_routes
from services.recommender.connection_watch import ConnectionWatch
from services.recommender.core.catalog_index import make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.policies import pinned_versions
from services.recommender.openapi import install_openapi
from services.recommender.session_stores import create_store
from services.recommender.settings import Settings
from shared.catalog import load_catalog
from shared.definition_log import make_load
from shared.definitions import load_experiments
from shared.edge import EdgeOptions, install_edge
from shared.exposure import is_loopback
from shared.http import install_operations, install_problem_handlers
from shared.logs import configure_logging
from shared.tasks import BackgroundTasks
from shared.tracing import Tracing, close_tracing, create_tracing


@dataclass(frozen=True)
class Adapters:
    """What a test may replace; None is made from the settings."""

    store: SessionStore | None = None
    models: ModelSource | None = None
    announcer: Announcer | None = None
    clock: Clock = field(default_factory=Clock)
    tracing: Tracing | None = None


def create_app(settings: Settings, adapters: Adapters | None = None) -> FastAPI:
    """Create the service; connections open with its lifespan.

    Raises:
        InvalidCatalogError: If the catalogue cannot be used.
        InvalidExperimentsError: If the experiments cannot be served.
        OSError: If the folder of the spool or of the arrays cannot be used.
    """
    adapters = adapters or Adapters()
    catalog = load_catalog(settings.catalog)
    index = make_catalog_index(catalog)
    experiments = load_experiments(settings.experiments)
    decider = Decider(
        index,
        experiments,
        seed=settings.seed,
        clock=adapters.clock,
        decision_s=settings.decision_s,
        rest_s=settings.rest_s,
    )
    metrics = Metrics(experiments.serving_names, adapters.clock)
    metrics.show_shares(experiments.experiments)
    tracing = adapters.tracing or create_tracing("recommender")
    store = adapters.store or create_store(settings, metrics, tracing)
    models = adapters.models or ModelHolder(
        settings.redis_url,
        catalog,
        index,
        pinned=pinned_versions(experiments),
        poll_s=settings.poll_s,
        metrics=metrics,
        clock=adapters.clock,
        shared=SharedArrays(settings.arrays) if settings.arrays else None,
    )
    load = make_load(experiments, adapters.clock.now())
    announcer = adapters.announcer or DefinitionAnnouncer(
        settings.redis_url, load, interval_s=settings.announce_s
    )
    state = State(
        catalog=catalog,
        decider=decider,
        metrics=metrics,
        models=models,
        store=store,
        tracing=tracing,
        is_local=is_loopback(settings.host),
    )
    watch = ConnectionWatch(
        request_s=settings.request_s, idle_s=settings.idle_s, seconds=adapters.clock.seconds
    )
    return _assemble(state, announcer, watch, max_in_flight=settings.max_in_flight)


def create_worker_app() -> FastAPI:
    """Create the service from the environment, for a worker that ends with its parent.

    Raises:
        ValidationError: If a setting is wrong.
        InvalidCatalogError: If the catalogue cannot be used.
        InvalidExperimentsError: If the experiments cannot be served.
    """
    end_with_parent()
    settings = Settings()
    configure_logging(settings.log_level, settings.log_format)
    app = create_app(settings)
    tune_collector()
    return app


def tune_collector() -> None:
    """Let the garbage collector run seldom, and leave out what stays, the catalogue above all.

    A request leaves no cycles behind, and by default the collector runs every few requests.
    """
    gc.freeze()
    gc.set_threshold(20_000, 20, 100)


def _assemble(
    state: State, announcer: Announcer, watch: ConnectionWatch, *, max_in_flight: int
) -> FastAPI:
    store, models, metrics = state["store"], state["models"], state["metrics"]
    tracing = state["tracing"]
    background = BackgroundTasks()

    @contextlib.asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[State]:
        await models.refresh()
        async with (
            background.running("metrics", metrics.tallies.flush_regularly()),
            background.running("models", models.watch()),
            background.running("definitions", announcer.watch()),
            background.running("spool", store.deliver()),
            background.running("connections", watch.look_regularly()),
        ):
            yield state
        await store.close()
        await models.close()
        await close_tracing(tracing)

    async def ready() -> Mapping[str, str]:
        try:
            await store.ping()
        except StoreUnavailableError:
            return {"sessions": "unavailable", "models": models.problem() or "ok"}
        return {"sessions": "ok", "models": models.problem() or "ok"}

    reports = make_reports(state, max_in_flight=max_in_flight)
    app = Application(title="Segue recommender", lifespan=lifespan, routes=make_routes(reports))
    app.reports, app.watch, app.metrics = reports, watch, metrics
    install_openapi(app)
    install_problem_handlers(app)
    install_operations(
        app,
        ready=ready,
        live=background.state,
        registry=metrics.registry,
        flush=metrics.tallies.flush,
    )
    options = EdgeOptions(
        service="recommender",
        is_local=state["is_local"],
        tracing=tracing,
        max_in_flight=max_in_flight,
    )
    install_edge(app, options, registry=metrics.registry, durations=metrics.requests)
    return app
