"""Every service against its own OpenAPI document: whatever comes, it answers as it says."""

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path as File
from typing import Annotated, Any

import asyncpg
import pytest
import schemathesis
from fastapi import FastAPI, HTTPException, Path, Response
from fastapi.responses import JSONResponse
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import GenerationMode
from schemathesis.checks import load_all_checks, not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi import checks

from deploy.local.servers import PostgresServer, ValkeyServer
from services.dashboard.app import Adapters as DashboardAdapters
from services.dashboard.app import create_app as create_dashboard
from services.dashboard.settings import Settings as DashboardSettings
from services.logger.app import create_app as create_logger
from services.logger.settings import Settings as LoggerSettings
from services.recommender.app import create_app as create_recommender
from services.trainer.adapters.job_store import LOCK_KEY
from services.trainer.app import create_app as create_trainer
from shared.catalog import Catalog
from tests.contract.http.served import served
from tests.integration.trainer.stack import make_settings as make_trainer_settings
from tests.unit.dashboard.factories import EXPERIMENTS, FakeResults, FakeServices, make_tracks
from tests.unit.recommender.factories import make_settings

TOKEN = "0123456789abcdef"
N_EXAMPLES = 12  # of each operation, and of what its schema forbids
CHECKS = [
    not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
    checks.negative_data_rejection,
]
BOUNDED = settings(
    max_examples=N_EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
load_all_checks()


@schemathesis.serializer("application/x-ndjson")
def _write_line(_: Any, value: Any) -> bytes:
    return json.dumps(value).encode() + b"\n"


def modes(operation: dict[str, Any]) -> list[GenerationMode]:
    """Return what can be sent: of any text, none is wrong."""
    schemas = [parameter["schema"] for parameter in operation.get("parameters", ())]
    content = operation.get("requestBody", {}).get("content", {})
    # A line that is no event is taken too: it becomes a dead letter, and is counted as such.
    content = {kind: each for kind, each in content.items() if kind != "application/x-ndjson"}
    schemas += [each["schema"] for each in content.values() if "schema" in each]
    is_limited = any(each.keys() - {"title"} != {"type"} for each in schemas)
    is_limited |= any(each.get("type") not in {None, "string"} for each in schemas)
    return [GenerationMode.POSITIVE] + [GenerationMode.NEGATIVE] * is_limited


def fuzz(url: str) -> int:
    """Send what the document allows and what it forbids; return how many requests that took."""
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    headers = {"Authorization": f"Bearer {TOKEN}"}
    n_sent = 0
    failures: list[FailureGroup] = []

    def send(case: Any) -> None:
        nonlocal n_sent
        n_sent += 1
        answer = case.call(headers=headers, timeout=30, allow_redirects=False)
        case.validate_response(answer, checks=CHECKS)

    for found in schema.get_all_operations():
        operation = found.ok()
        for mode in modes(operation.definition.raw):
            try:
                BOUNDED(given(case=operation.as_strategy(generation_mode=mode))(send))()
            except FailureGroup as error:
                failures.append(error)
    if failures:
        raise BaseExceptionGroup("not as the document says", failures)
    return n_sent


def test_the_recommender(valkey: ValkeyServer, redis: object, tmp_path: File) -> None:
    settings_ = make_settings(tmp_path, redis_url=valkey.url, deadline_s=5)
    with served(create_recommender(settings_)) as url:
        assert fuzz(url) > 50


def test_the_logger(valkey: ValkeyServer, redis: object, database: PostgresServer) -> None:
    options = {"redis_url": valkey.url, "postgres_dsn": database.dsn, "SEGUE_API_TOKEN": TOKEN}
    with served(create_logger(LoggerSettings(**options))) as url:
        assert fuzz(url) > 20


@pytest.fixture
def busy(database: PostgresServer) -> Iterator[None]:
    """Let a training run elsewhere: none is started here, whatever is ordered."""
    with asyncio.Runner() as runner:
        connection = runner.run(asyncpg.connect(database.dsn))
        runner.run(connection.execute("SELECT pg_advisory_lock($1)", LOCK_KEY))
        yield
        runner.run(connection.close())


def test_the_trainer(
    valkey: ValkeyServer, redis: object, database: PostgresServer, busy: None, tmp_path: File
) -> None:
    options = make_trainer_settings(valkey, database, tmp_path, SEGUE_API_TOKEN=TOKEN)
    with served(create_trainer(options)) as url:
        assert fuzz(url) > 100


def test_the_dashboard(tmp_path: File) -> None:
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)

    async def fetch_catalog() -> Catalog:
        return make_tracks()

    adapters = DashboardAdapters(
        results=FakeResults(), peers=FakeServices().peers(), fetch_catalog=fetch_catalog
    )
    options = DashboardSettings(experiments=tmp_path / "experiments.yaml", SEGUE_API_TOKEN=TOKEN)
    with served(create_dashboard(options, adapters)) as url:
        assert fuzz(url) > 100


LIES: dict[str, Callable[[FastAPI], Any]] = {}


def lies(tell: Callable[[FastAPI], Any]) -> Callable[[FastAPI], Any]:
    """Keep an application that does not do what its document says."""
    LIES[tell.__name__] = tell
    return tell


@lies
def crashes_at_some_number(app: FastAPI) -> None:
    @app.get("/{n}")
    def divide(n: int) -> int:
        return 1 // (n % 2)


@lies
def has_a_problem_that_it_does_not_document(app: FastAPI) -> None:
    @app.get("/{n}")
    def find(n: int) -> int:
        raise HTTPException(404)


@lies
def answers_in_another_form(app: FastAPI) -> None:
    @app.get("/{n}", response_model=dict[str, int])
    def find(n: int) -> Response:
        return JSONResponse({"n": str(n)})


@lies
def takes_what_it_forbids(app: FastAPI) -> None:
    @app.get("/{n}")
    def find(n: Annotated[str, Path(json_schema_extra={"type": "integer"})]) -> str:
        return n


@pytest.mark.parametrize("lie", LIES.values(), ids=LIES)
def test_a_lie_is_found(lie: Callable[[FastAPI], Any]) -> None:
    app = FastAPI()
    lie(app)
    with served(app) as url, pytest.raises(BaseExceptionGroup):
        fuzz(url)
