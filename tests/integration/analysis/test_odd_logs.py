"""Logs that hold too little, or what should not be: a plain word, never a traceback or a NaN."""

import asyncio
import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from asgi_lifespan import LifespanManager

from analysis.__main__ import main
from deploy.local.servers import PostgresServer
from services.dashboard.app import Adapters, create_app
from services.dashboard.settings import Settings
from shared.definition_log import make_load
from shared.definitions import load_experiments
from tests.integration.analysis.log import START, Row, connect, insert, make_session
from tests.unit.dashboard.factories import HTML, FakeServices, make_tracks

DAY = timedelta(days=1)
DEFINITIONS = """
serving: E
experiments:
  - name: E
    treatments: [{name: C, recommender: random}, {name: T1, recommender: random}]
  - {name: SOON, start: 2999-01-01T00:00:00Z, treatments: [{name: C}, {name: T1}]}
"""


def sessions(arm: str, users: range, times: list[float], at: datetime = START) -> list[Row]:
    arms = {"E": arm}
    return [row for user in users for row in make_session(user, times, experiments=arms, at=at)]


def make_skewed() -> list[Row]:
    """Make sessions whose clock runs backwards, and some of days ago that come only now."""
    rows = sessions("C", range(20), [1.0, 0.5]) + sessions("T1", range(20, 40), [1.0, 0.7])
    for n, row in enumerate(rows):
        if row["position"] == 1:
            row["occurred_at"] = START - timedelta(seconds=n)
    late = make_session(3, [1.0, 0.2], experiments={"E": "C"}, at=START - 3 * DAY)
    return rows + late


ODD: dict[str, Callable[[], list[Row]]] = {
    "no event at all": list,
    "only the control": lambda: sessions("C", range(30), [1.0, 0.5]),
    "only a treatment": lambda: sessions("T1", range(30), [1.0, 0.5]),
    "a single user": lambda: sessions("C", range(1), [1.0, 0.5]),
    "one user in each arm": lambda: [
        *sessions("C", range(1), [1.0, 0.5]),
        *sessions("T1", range(1, 2), [1.0, 0.9]),
    ],
    "no variance": lambda: [
        *sessions("C", range(20), [1.0, 0.5]),
        *sessions("T1", range(20, 40), [1.0, 0.5]),
    ],
    "nobody listens": lambda: [
        *sessions("C", range(20), [0.0]),
        *sessions("T1", range(20, 40), [0.0]),
    ],
    "everybody in both arms": lambda: [
        *sessions("C", range(5), [1.0]),
        *sessions("T1", range(5), [1.0, 0.1], at=START + timedelta(hours=1)),
    ],
    "a clock that runs backwards": make_skewed,
    "one event": lambda: make_session(1, [1.0], experiments={"E": "C"}, finished=False),
}


def refuse(constant: str) -> None:
    raise AssertionError(f"{constant} in the output")


@pytest.fixture(params=ODD)
async def odd_log(
    request: pytest.FixtureRequest, database: PostgresServer, tmp_path: Path
) -> tuple[PostgresServer, Path]:
    """Return a database with an odd log, and the file of the definitions."""
    path = tmp_path / "experiments.yaml"
    path.write_text(DEFINITIONS)
    load = make_load(load_experiments(path), START - DAY)
    async with connect(database.dsn) as connection:
        if rows := ODD[request.param]():
            await insert(connection, rows)
        await connection.execute(
            "INSERT INTO definitions VALUES ($1, $2)", load.digest, bytes(load.content).decode()
        )
        await connection.execute(
            "INSERT INTO definition_loads VALUES ($1, $2)", load.loaded_at, load.digest
        )
    return database, path


async def test_every_command_says_it_plainly(
    odd_log: tuple[PostgresServer, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    commands: list[tuple[str, ...]] = [
        *(("results", "E", "--format", form) for form in ("text", "json", "csv", "html")),
        *(("results", "--format", form) for form in ("text", "json")),
        ("results", "SOON"),
        ("results", "NONE"),
        *(("plan", "E", "--format", form) for form in ("text", "json")),
        *(("aa", "E", "--splits", "20", "--format", form) for form in ("text", "json")),
        ("off-policy", "E", "--policy", "T1"),
        ("export", "--format", "botify", "--to", "-"),
    ]
    for words in commands:
        code = await asyncio.to_thread(main, [*words, "--dsn", odd_log[0].dsn])
        output = capsys.readouterr()
        if code == 0:
            if "json" in words:
                json.loads(output.out, parse_constant=refuse)
            elif "html" not in words:
                assert "nan" not in output.out.lower().split(), words
        else:
            assert code in {1, 2}
            assert output.out == "", words
            assert output.err.startswith("analysis: ")
            assert output.err.count("\n") == 1, (words, output.err)


async def test_the_dashboard_says_it_plainly(odd_log: tuple[PostgresServer, Path]) -> None:
    async def fetch_catalog() -> Any:
        return make_tracks()

    settings = Settings(postgres_dsn=odd_log[0].dsn, experiments=odd_log[1], patience_s=30)
    adapters = Adapters(peers=FakeServices().peers(), fetch_catalog=fetch_catalog)
    async with LifespanManager(create_app(settings, adapters)) as manager:
        transport = httpx.ASGITransport(app=manager.app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            listed = await client.get("/api/experiments")
            assert {each["name"]: each["state"] for each in listed.json()} == {
                "E": "serving",
                "SOON": "scheduled",
            }
            for name, statuses in (("E", {200, 409}), ("SOON", {409}), ("NONE", {404})):
                results = await client.get(f"/api/experiments/{name}/results")
                assert results.status_code in statuses, results.text
                body = json.loads(results.text, parse_constant=refuse)
                assert body.get("notes") or body["detail"]
                page = await client.get(f"/experiments/{name}", headers=HTML)
                assert page.status_code == (404 if name == "NONE" else 200)
                assert ">nan" not in page.text.lower()
            page = await client.get("/experiments", headers=HTML)
            assert page.status_code == 200
