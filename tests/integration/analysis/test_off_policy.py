"""`python -m analysis off-policy`, on what real recommenders served."""

import asyncio
import functools
import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import numpy as np
import pytest
from redis.asyncio import Redis

from analysis.__main__ import main
from deploy.local.servers import PostgresServer, ValkeyServer
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import Models
from shared.artifacts import publish_model
from shared.catalog_store import publish_catalog
from shared.definition_log import make_load
from shared.definitions import parse_experiments
from shared.experiments import ExperimentSet
from tests.conftest import free_port
from tests.integration.analysis.log import START, connect, insert, make_session
from tests.unit.recommender.factories import (
    FIRST_ID,
    make_index,
    make_served,
    make_tracks,
    make_version,
)

DEFINITION = {
    "serving": "E",
    "experiments": [
        {
            "name": "E",
            "treatments": [
                {"name": "C", "recommender": "random"},
                {"name": "T1", "recommender": "contextual"},
                {"name": "T2", "recommender": "session"},
            ],
        },
        {"name": "AA", "treatments": [{"name": "C"}, {"name": "T1"}]},
    ],
}
N_USERS, N_PLAYS = 300, 9
CATALOG, INDEX = make_tracks(), make_index()

Run = Callable[..., Awaitable[tuple[int, str, str]]]


def define() -> ExperimentSet:
    return parse_experiments(msgspec.yaml.encode(DEFINITION))


def listen(row: int) -> float:
    """Return how long anybody listens to a track: the later ones are better."""
    return round(row / len(INDEX), 2)


@functools.cache
def play_all() -> list[dict[str, Any]]:
    """Play a session of every user through the recommender's own decisions."""
    experiments = define()
    decider = Decider(INDEX, experiments, seed=3, clock=Clock())
    models = Models({"latest": make_served(INDEX)})
    rows = []
    for user in range(N_USERS):
        arm = experiments.assign(user, 0).names
        if arm["E"] == "T2":
            continue
        session = decider.open_session(user, models)
        tracks, chosen = [user % len(INDEX)], []
        for _ in range(N_PLAYS - 1):
            chosen.append(session.recommend(tracks[-1], 0.5))
            tracks.append(chosen[-1].choice.row)
        events = make_session(user, [1.0, *map(listen, tracks[1:])], experiments=arm)
        for event, track in zip(events, tracks, strict=True):
            event["track_id"] = FIRST_ID + track
        for event, served in zip(events, chosen, strict=False):
            event["recommendation"] = FIRST_ID + served.choice.row
            event["propensity"] = served.choice.propensity
        rows += events
    return rows


@pytest.fixture
async def log(
    database: PostgresServer, redis: Redis
) -> tuple[PostgresServer, list[dict[str, Any]]]:
    """Return a database with a log, a catalogue and definitions; a model is in Redis."""
    rows = play_all()
    await publish_catalog(redis, CATALOG)
    await publish_model(redis, make_version("m1", CATALOG))
    load = make_load(define(), START)
    async with connect(database.dsn) as connection:
        await insert(connection, rows)
        await insert_tracks(connection)
        await connection.execute(
            "INSERT INTO definitions VALUES ($1, $2)", load.digest, bytes(load.content).decode()
        )
        await connection.execute(
            "INSERT INTO definition_loads VALUES ($1, $2)", load.loaded_at, load.digest
        )
    return database, rows


async def insert_tracks(connection: asyncpg.Connection) -> None:
    await connection.executemany(
        "INSERT INTO tracks VALUES ($1, $2, $3, $4)",
        [(each.track, each.artist, each.title, each.genre) for each in CATALOG.tracks],
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], valkey: ValkeyServer) -> Run:
    """Run the command in a thread: it brings its own event loop."""

    async def run(*words: str, dsn: str, redis: str = valkey.url) -> tuple[int, str, str]:
        arguments = ["off-policy", *words, "--dsn", dsn, "--redis", redis]
        code = await asyncio.to_thread(main, arguments)
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


async def test_an_arm_is_estimated_from_another_and_compared_with_itself(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]]
) -> None:
    code, output, error = await run("E", "--policy", "T1", "--format", "json", dsn=log[0].dsn)
    assert (code, error) == (0, "")
    report = json.loads(output)
    assert report["policy"] == "T1 (contextual, model version m1)"
    logged = [row["time"] for row in log[1] if row["position"] > 0 and '"C"' in arm_of(row)]
    played = [row["time"] for row in log[1] if row["position"] > 0 and '"T1"' in arm_of(row)]
    assert report["logged"]["value"] == pytest.approx(np.mean(logged))
    assert report["played"]["value"] == pytest.approx(np.mean(played))
    assert report["n_sessions"] == len(logged) / (N_PLAYS - 1)
    assert [each["method"] for each in report["estimates"]] == ["ips", "snips", "clipped", "dr"]
    for estimate in report["estimates"]:
        # A neighbour is one of the 12 after the first track, of 60: contexts hardly matter here.
        assert estimate["lower"] - 0.03 < np.mean(played) < estimate["upper"] + 0.03
        assert estimate["n_effective"] > 100


def arm_of(row: dict[str, Any]) -> str:
    return json.dumps(json.loads(row["experiments"])["E"])


async def test_a_version_a_file_and_the_arm_say_the_same(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]], tmp_path: Path
) -> None:
    neighbours = make_served(INDEX).neighbours
    assert neighbours is not None
    path = tmp_path / "tracks_with_recs.json"
    lines = [
        {
            "track": FIRST_ID + row,
            "recommendations": [FIRST_ID + n for n in found.tolist() if n >= 0],
        }
        for row, found in enumerate(neighbours)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    found = {}
    for policy in ("T1", "m1", "latest", str(path)):
        code, output, _ = await run("E", "--policy", policy, "--format", "json", dsn=log[0].dsn)
        assert code == 0
        found[policy] = [each["value"] for each in json.loads(output)["estimates"][:3]]
    assert all(values == pytest.approx(found["T1"]) for values in found.values())


@pytest.mark.parametrize(
    ("words", "address", "told"),
    [
        (["--policy", "T1", "--anchor", "last"], None, "T1 is an arm, which is defined already"),
        (["--policy", "latest"], "nowhere", "no Redis: nowhere: Redis URL must specify"),
    ],
)
async def test_what_cannot_be_asked_is_said_in_one_line(
    run: Run,
    log: tuple[PostgresServer, list[dict[str, Any]]],
    valkey: ValkeyServer,
    words: list[str],
    address: str | None,
    told: str,
) -> None:
    code, output, error = await run("E", *words, dsn=log[0].dsn, redis=address or valkey.url)
    assert (code > 0, output, error.count("\n")) == (True, "", 1)
    assert told in error


async def test_text_and_markdown_say_what_was_asked(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]]
) -> None:
    code, text, _ = await run("E", "--policy", "T1", dsn=log[0].dsn)
    assert code == 0
    assert "E: T1 (contextual, model version m1), from the log of C" in text
    assert "doubly robust" in text
    assert "Under the policy sessions would go elsewhere" in text
    assert max(map(len, text.splitlines()[:12])) <= 100
    _, markdown, _ = await run(
        "E", "--policy", "C", "--log", "T1", "--format", "markdown", "--first", "1", dsn=log[0].dsn
    )
    assert markdown.startswith("## E: C (random), from the log of T1\n\n")
    assert "The log cannot say: " in markdown


async def test_a_log_that_cannot_say_is_refused(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]]
) -> None:
    words = ("E", "--policy", "T1", "--first", "4", "--format", "json")
    code, output, _ = await run(*words, dsn=log[0].dsn)
    report = json.loads(output)
    assert code == 1
    assert "sessions are worth" in report["refused"]
    assert report["estimates"] == []
    code, output, _ = await run("E", "--policy", "C", "--log", "T1", dsn=log[0].dsn)
    assert code == 1
    assert "was never to be served by the log's policy" in output


@pytest.mark.parametrize(
    ("words", "code", "fault"),
    [
        (("E", "--policy", "T2"), 2, "'session' serves cannot be computed"),
        (("AA", "--policy", "T1"), 2, "T1 is only logged"),
        (("E", "--policy", "nothing"), 1, "no arm of E (C, T1, T2), and no model version"),
        (("NONE", "--policy", "m1"), 1, "NONE: no session of C"),
        (("E", "--policy", "m1", "--log", "T9"), 1, "E: no session of T9"),
        (("E", "--policy", "m1", "--since", "2030-01-01"), 1, "E: no session of C"),
    ],
)
async def test_what_cannot_be_asked_is_said_in_a_line(
    words: tuple[str, ...],
    code: int,
    fault: str,
    run: Run,
    log: tuple[PostgresServer, list[dict[str, Any]]],
) -> None:
    returned, output, error = await run(*words, dsn=log[0].dsn)
    assert (returned, output) == (code, "")
    assert fault in error
    assert error.count("\n") == 1


async def test_what_is_away_is_said_in_a_line(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]]
) -> None:
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    code, _, error = await run("E", "--policy", "m1", dsn=log[0].dsn, redis=nowhere)
    assert (code, "no Redis" in error, error.count("\n")) == (1, True, 1)
    no_postgres = f"postgresql://postgres@127.0.0.1:{free_port()}/segue"
    code, _, error = await run("E", "--policy", "m1", dsn=no_postgres)
    assert (code, "no Postgres" in error, error.count("\n")) == (1, True, 1)


async def test_without_a_catalogue_it_says_so(run: Run, known_log: PostgresServer) -> None:
    code, _, error = await run("RECOMMENDERS", "--policy", "T1", dsn=known_log.dsn)
    assert code == 1
    assert "no catalogue yet" in error


async def test_broken_sessions_are_counted(
    run: Run, log: tuple[PostgresServer, list[dict[str, Any]]]
) -> None:
    async with connect(log[0].dsn) as connection:
        await connection.execute(
            "DELETE FROM events WHERE position = 3 AND user_id = "
            "(SELECT min(user_id) FROM events WHERE experiments ->> 'E' = 'C')"
        )
    _, output, _ = await run("E", "--policy", "T1", "--format", "json", dsn=log[0].dsn)
    assert json.loads(output)["n_broken"] == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ('{"track": 100}', "line 1: Object missing required field"),
        ('{"track": 100, "recommendations": [101]}\n{', "line 2: "),
        ('{"track": 100, "recommendations": [7]}', "line 1: the catalogue has no track 7"),
        ("", "no lines"),
    ],
)
async def test_a_bad_file_is_named_with_its_line(
    text: str,
    fault: str,
    run: Run,
    log: tuple[PostgresServer, list[dict[str, Any]]],
    tmp_path: Path,
) -> None:
    path = tmp_path / "recs.json"
    path.write_text(text)
    code, _, error = await run("E", "--policy", str(path), dsn=log[0].dsn)
    assert code == 1
    assert f"{path}: {fault}" in error
