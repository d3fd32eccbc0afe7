"""What the service needs to start, and says when it is missing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from services.recommender.app import create_app
from services.recommender.settings import Settings
from shared.catalog import InvalidCatalogError, load_catalog
from shared.definitions import InvalidExperimentsError
from tests.unit.recommender.factories import make_settings


def start(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "services.recommender"],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_without_a_catalogue_it_refuses_in_one_line(tmp_path: Path) -> None:
    result = start(SEGUE_RECOMMENDER_CATALOG=str(tmp_path / "absent.json"))
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "absent.json: No such file" in result.stderr


def test_bad_experiments_are_refused_in_one_line(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    settings.experiments.write_text("serving: A\nexperiments: []\n")
    result = start(
        SEGUE_RECOMMENDER_CATALOG=str(settings.catalog),
        SEGUE_RECOMMENDER_EXPERIMENTS=str(settings.experiments),
    )
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "no experiment is called 'A'" in result.stderr


def test_a_bad_line_of_the_catalogue_is_named(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    settings.catalog.write_bytes(b'{"track": 1, "artist": "a", "title": "t"}\n{"track": -1}\n')
    with pytest.raises(InvalidCatalogError, match="line 2"):
        create_app(settings)


def test_a_recommender_that_does_not_exist_is_refused(tmp_path: Path) -> None:
    settings = make_settings(tmp_path)
    text = settings.experiments.read_text().replace("contextual", "oracle")
    settings.experiments.write_text(text)
    with pytest.raises(InvalidExperimentsError, match="'oracle' is none of"):
        create_app(settings)


def test_the_experiments_we_ship_are_served(tmp_path: Path) -> None:
    assert create_app(make_settings(tmp_path, experiments=Path("deploy/experiments.yaml")))


def test_settings_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_REDIS_URL", "redis://elsewhere:1/0")
    monkeypatch.setenv("SEGUE_RECOMMENDER_SESSION_TIMEOUT_S", "60")
    settings = Settings()
    assert (settings.redis_url, settings.session_timeout_s) == ("redis://elsewhere:1/0", 60)


def test_botifys_catalogue_is_read_whole(botify_data: Path) -> None:
    assert len(load_catalog(botify_data / "tracks.json")) == 50_000
