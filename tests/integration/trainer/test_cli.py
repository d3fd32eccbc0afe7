"""The command line turns botify's files into botify's file, and publishes what it is given."""

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer
from services.trainer.__main__ import main
from services.trainer.settings import Settings
from shared.artifacts import fetch_latest_version, fetch_model
from shared.catalog import Catalog
from tests.integration.trainer.stack import export_events
from tests.unit.trainer.logs import block_of, make_block_playbacks, make_blocks

QUICK = ["--dim", "8", "--neighbours", "5"]


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Write botify's log and catalogue to a folder."""
    catalog = make_blocks()
    (tmp_path / "tracks.json").write_bytes(catalog.to_json_lines())
    playbacks = make_block_playbacks(catalog, n_sessions=800)
    playbacks["user"] = range(len(playbacks))  # each session has a user of its own
    playbacks["user"] //= 6
    lines = [
        json.dumps(
            {
                "message": "last" if row["position"] == 5 else "next",
                "timestamp": int(row["at"]) // 1000,
                "user": int(row["user"]),
                "track": int(row["track"]),
                "time": round(float(row["time"]), 2),
            }
        )
        for row in playbacks
    ]
    (tmp_path / "data.json").write_text("\n".join(lines) + "\n")
    return tmp_path


def fit_arguments(files: Path, *more: str) -> list[str]:
    paths = {"--log": "data.json", "--tracks": "tracks.json", "--out": "out.json"}
    named = [word for name, file in paths.items() for word in (name, str(files / file))]
    return ["fit", *named, *QUICK, *more]


@pytest.mark.usefixtures("playbacks")
async def test_an_exported_log_becomes_recommendations(
    files: Path, database: PostgresServer, catalog: Catalog
) -> None:
    url = str(files / "events")
    await export_events(database.dsn, url)
    arguments = fit_arguments(files)
    place = arguments.index("--log")
    arguments[place : place + 2] = ["--events", url]
    assert await asyncio.to_thread(main, arguments) == 0
    assert len((files / "out.json").read_text().splitlines()) == len(catalog)


def run(settings: Settings, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command with these settings."""
    environment = {
        "SEGUE_REDIS_URL": settings.redis_url,
        "SEGUE_POSTGRES_DSN": settings.postgres_dsn,
        "SEGUE_TRAINER_PUBLISH_WAIT_S": "0.01",
    }
    return subprocess.run(
        [sys.executable, "-m", "services.trainer", *arguments],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("recipe", ["artist_concat", "session"])
async def test_a_log_becomes_recommendations_without_any_service(files: Path, recipe: str) -> None:
    catalog = make_blocks()
    top = ("--top-tracks", str(files / "top.json"))
    arguments = fit_arguments(files, *top, "--recipe", recipe)
    assert await asyncio.to_thread(main, arguments) == 0
    lines = [json.loads(line) for line in (files / "out.json").read_text().splitlines()]
    assert len(lines) == len(catalog)
    assert set(lines[0]) == {"artist", "title", "track", "recommendations"}
    same = [
        block_of(catalog.row_of[line["track"]]) == block_of(catalog.row_of[track])
        for line in lines
        for track in line["recommendations"]
    ]
    assert len(same) == 5 * len(catalog)
    assert sum(same) / len(same) > 0.9
    assert set(json.loads((files / "top.json").read_text())) <= set(catalog.row_of)


async def test_a_fit_goes_on_from_a_saved_model_and_leaves_its_figures(
    files: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first = fit_arguments(files, "--model", str(files / "model"), "--epochs", "2")
    assert await asyncio.to_thread(main, first) == 0
    assert "held_out_mse" in json.loads((files / "model/manifest.json").read_text())["metrics"]
    more = ("--warm-start", str(files / "model"), "--artifacts", str(files / "artifacts"))
    checkpoint = ("--checkpoint", str(files / "checkpoint.npz"))
    assert await asyncio.to_thread(main, fit_arguments(files, *more, *checkpoint)) == 0
    names = sorted(path.name for path in (files / "artifacts").iterdir())
    assert names == ["calibration.png", "losses.png", "map.json", "map.png", "metrics.json"]
    assert not (files / "checkpoint.npz").exists()
    assert main(fit_arguments(files, *more, "--recipe", "session")) == 1
    assert "it is of the recipe artist_concat" in capsys.readouterr().err


def test_a_saved_model_is_drawn(files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, picture = files / "model", files / "map.png"
    preset = ("--preset", "published_track_only", "--model", str(model))
    assert main(fit_arguments(files, *preset)) == 0
    manifest = json.loads((model / "manifest.json").read_text())
    assert (manifest["recipe"], manifest["parameters"]["batch_size"]) == ("track_only", 2048)
    drawing = ["map", "--folder", str(model), "--tracks", "20", "--out", str(picture)]
    assert main(drawing) == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    capsys.readouterr()
    assert main([*drawing[:-1], str(files / "absent" / "map.png")]) == 1
    assert "No such file" in capsys.readouterr().err


@pytest.mark.usefixtures("catalog")
async def test_a_published_version_is_drawn_and_an_absent_one_is_not(
    files: Path, settings: Settings
) -> None:
    model, picture = files / "model", files / "map.png"
    arguments = fit_arguments(files, "--model", str(model), "--epochs", "1")
    assert await asyncio.to_thread(main, arguments) == 0
    published = await asyncio.to_thread(run, settings, "publish", str(model))
    version = published.stdout.strip()
    drawing = ("map", "--tracks", "20", "--out", str(picture), "--version")
    assert (await asyncio.to_thread(run, settings, *drawing, version)).returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")
    absent = await asyncio.to_thread(run, settings, *drawing, "absent")
    assert absent.returncode == 1
    assert "absent" in absent.stderr


@pytest.mark.usefixtures("catalog")
async def test_a_saved_model_and_a_botify_file_are_published(
    files: Path, settings: Settings, redis: Redis
) -> None:
    arguments = fit_arguments(files, "--model", str(files / "model"), "--epochs", "1")
    assert await asyncio.to_thread(main, arguments) == 0
    for path, recipe in (("model", "artist_concat"), ("out.json", "imported")):
        result = await asyncio.to_thread(run, settings, "publish", str(files / path))
        assert result.returncode == 0, result.stderr
        version = result.stdout.strip()
        assert await fetch_latest_version(redis) == version
        model = await fetch_model(redis, version)
        assert model.manifest.recipe == recipe
        assert model.arrays["neighbours"].shape == (len(make_blocks()), 5)


async def test_a_botify_file_needs_a_catalogue(
    files: Path, settings: Settings, redis: Redis
) -> None:
    lines = [f'{{"track": {track}, "recommendations": [1000]}}' for track in (1007, 1014)]
    (files / "recs.json").write_text("\n".join(lines))
    command = ("publish", str(files / "recs.json"))
    result = await asyncio.to_thread(run, settings, *command)
    assert result.returncode == 1
    assert "no catalogue" in result.stderr
    tracks = ("--tracks", str(files / "tracks.json"), "--no-activate")
    result = await asyncio.to_thread(run, settings, *command, *tracks)
    assert result.returncode == 0, result.stderr
    assert await fetch_latest_version(redis) is None


async def test_a_bad_file_is_named(files: Path, settings: Settings) -> None:
    (files / "recs.json").write_text('{"recommendations": []}')
    tracks = ("--tracks", str(files / "tracks.json"))
    result = await asyncio.to_thread(run, settings, "publish", str(files / "recs.json"), *tracks)
    assert result.returncode == 1
    assert f"{files / 'recs.json'}: line 1: " in result.stderr


async def test_a_model_of_another_catalogue_is_not_published(
    files: Path, settings: Settings, redis: Redis, catalog: Catalog
) -> None:
    other = files / "other.json"
    other.write_bytes(catalog.to_json_lines().replace(b"title 0", b"other title"))
    result = await asyncio.to_thread(
        run, settings, "publish", str(files / "data.json"), "--tracks", str(other)
    )
    assert result.returncode == 1
    assert "not the catalogue in Redis" in result.stderr
    assert await fetch_latest_version(redis) is None


@pytest.mark.parametrize(
    ("change", "code", "fault"),
    [
        (["--log", "absent"], 1, "absent"),
        (["--tracks", "absent"], 1, "absent"),
        (["--dim", "0"], 2, "--dim: Input should be greater than or equal to 1"),
        (["--preset", "enriched_uniform", "--recipe", "session"], 2, "one or the other"),
        (["--workers", "3"], 2, "take --engine ray"),
        (["--out", "absent/out.json"], 1, "there is no folder absent"),
    ],
)
def test_a_command_that_cannot_be_done_says_why(
    files: Path, capsys: pytest.CaptureFixture[str], change: list[str], code: int, fault: str
) -> None:
    assert main(fit_arguments(files, *change)) == code
    assert fault in capsys.readouterr().err
    assert not (files / "out.json").exists()
