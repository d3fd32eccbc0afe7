"""The dashboard on a real Postgres and a real Valkey."""

import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from asgi_lifespan import LifespanManager
from redis.asyncio import Redis

from analysis.core.wording import describe_change
from deploy.local.servers import PostgresServer, ValkeyServer
from services.dashboard.app import create_app
from services.dashboard.settings import Settings
from shared.catalog_store import publish_catalog
from tests.integration.analysis.log import connect, insert, make_known_log
from tests.unit.dashboard.factories import EXPERIMENTS, HTML, make_tracks

AWAY = "http://127.0.0.1:9"


@pytest.fixture
async def settings(database: PostgresServer, valkey: ValkeyServer, tmp_path: Path) -> Settings:
    """Point the dashboard at the real servers, with no other service there."""
    (tmp_path / "experiments.yaml").write_text(EXPERIMENTS)
    return Settings(
        postgres_dsn=database.dsn,
        redis_url=valkey.url,
        experiments=tmp_path / "experiments.yaml",
        recommender_url=AWAY,
        trainer_url=AWAY,
        logger_url=AWAY,
        patience_s=30,
    )


@pytest.fixture
async def client(settings: Settings) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the dashboard; return a client of it."""
    async with LifespanManager(create_app(settings)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            yield client


@pytest.fixture
async def known(database: PostgresServer) -> None:
    """Put the log known by hand into the database."""
    async with connect(database.dsn) as connection:
        await insert(connection, make_known_log())


@pytest.mark.usefixtures("known")
async def test_results_are_those_of_the_command_line(
    client: httpx.AsyncClient, database: PostgresServer
) -> None:
    command = [sys.executable, "-m", "analysis", "RECOMMENDERS", "--format", "json"]
    printed = subprocess.run(  # noqa: ASYNC221 - nothing else runs
        [*command, "--dsn", database.dsn], capture_output=True, check=True, text=True
    )
    answer = (await client.get("/api/experiments/RECOMMENDERS/results")).json()
    expected = json.loads(printed.stdout)
    assert {name: answer[name] for name in ("arms", "effects", "sample_ratio", "decision")} == {
        name: expected[name] for name in ("arms", "effects", "sample_ratio", "decision")
    }
    page = (await client.get("/experiments/RECOMMENDERS", headers=HTML)).text
    for effect in expected["effects"]:
        (row,) = re.findall(rf'data-metric="{effect["metric"]}".*?</tr>', page, re.DOTALL)
        if effect["effect_pct"] is not None:
            change = describe_change(effect["effect_pct"], upper=effect["upper_pct"])
            assert f">{change.replace('-', '−')}<" in row


async def test_without_data_every_page_says_so(client: httpx.AsyncClient) -> None:
    answer = await client.get("/api/experiments/SERVING/results")
    assert answer.status_code == 409
    page = await client.get("/experiments", headers=HTML)
    assert page.text.count("No data yet") == 2
    assert (await client.get("/live", headers=HTML)).status_code == 200


async def test_a_database_that_is_away_is_a_state(settings: Settings) -> None:
    away = settings.model_copy(update={"postgres_dsn": "postgresql://postgres@127.0.0.1:9/segue"})
    async with LifespanManager(create_app(away)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            assert "No numbers." in (await client.get("/experiments", headers=HTML)).text
            assert (await client.get("/api/experiments")).status_code == 503
            assert (await client.get("/health/ready")).status_code == 503
            live = (await client.get("/live", headers=HTML)).text
    assert "no Postgres" in live
    assert live.count("is away") == 3


async def test_tracks_are_searched_in_the_published_catalogue(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    page = await client.get("/listen?q=apache", headers=HTML)
    assert "the recommender has published no catalogue" in page.text
    await publish_catalog(redis, make_tracks())
    page = await client.get("/listen?q=apache", headers=HTML)
    assert "The Shadows" in page.text
