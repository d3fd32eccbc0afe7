"""Every route of every service that changes state asks for the token, but those of listeners."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from fastapi import FastAPI

from services.dashboard.app import create_app as create_dashboard
from services.dashboard.settings import Settings as DashboardSettings
from services.logger.app import create_app as create_logger
from services.logger.settings import Settings as LoggerSettings
from services.recommender.app import create_app as create_recommender
from services.trainer.app import create_app as create_trainer
from services.trainer.settings import Settings as TrainerSettings
from shared.exposure import ExposedError
from tests.unit.recommender.factories import make_settings

TOKEN = {"SEGUE_API_TOKEN": "0123456789abcdef"}
# What listeners do, from wherever they are: it is theirs alone.
OPEN = {"/next/{user}", "/last/{user}", "/listen", "/listen/{token}"}
SAFE = {"get", "head", "options"}
VALUES = {"version": "v1", "job_id": "00000000-0000-0000-0000-000000000000"}


def make_apps(folder: Path) -> dict[str, FastAPI]:
    return {
        "recommender": create_recommender(make_settings(folder, **TOKEN)),
        "trainer": create_trainer(TrainerSettings(**TOKEN)),
        "logger": create_logger(LoggerSettings(**TOKEN)),
        "dashboard": create_dashboard(DashboardSettings(**TOKEN)),
    }


def changes(app: FastAPI) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Return the operations that change something."""
    for path, operations in app.openapi()["paths"].items():
        for method, operation in operations.items():
            if method not in SAFE:
                yield method, path, operation


async def test_each_asks_and_says_so_in_openapi(tmp_path: Path) -> None:
    asked = set()
    for app in make_apps(tmp_path).values():
        # Not started: nothing but the token can be looked at.
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for method, path, operation in changes(app):
                if path in OPEN:
                    assert "security" not in operation
                    continue
                answer = await client.request(method, path.format(**VALUES))
                assert answer.status_code == 401, path
                assert operation["security"]
                assert "401" in operation["responses"]
                asked.add(path)
    assert {"/train", "/models/{version}/activate", "/models/rollback", "/events"} <= asked
    assert {"/train/{job_id}/cancel", "/train/{job_id}/resume", "/rollback"} <= asked


@pytest.mark.parametrize(
    "create",
    [
        lambda: create_trainer(TrainerSettings(host="0.0.0.0")),
        lambda: create_logger(LoggerSettings(host="0.0.0.0")),
        lambda: create_dashboard(DashboardSettings(host="0.0.0.0")),
    ],
    ids=["trainer", "logger", "dashboard"],
)
def test_none_starts_open_to_strangers_without_a_token(create: Callable[[], FastAPI]) -> None:
    with pytest.raises(ExposedError, match=r"SEGUE_API_TOKEN.*SEGUE_ALLOW_NO_TOKEN"):
        create()


async def test_no_service_lets_another_sites_page_read_it(tmp_path: Path) -> None:
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for app in make_apps(tmp_path).values():
        transport = httpx.ASGITransport(app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for method, path in (("GET", "/openapi.json"), ("OPTIONS", "/train"), ("GET", "/x")):
                answer = await client.request(method, path, headers=headers)
                assert not [name for name in answer.headers if name.startswith("access-control")]
                assert answer.headers["X-Content-Type-Options"] == "nosniff"
