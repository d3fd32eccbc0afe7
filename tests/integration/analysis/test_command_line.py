"""`python -m analysis`, as a person runs it."""

import asyncio
import csv
import dataclasses
import io
import json
import os
import re
import subprocess
import sys
from collections.abc import Awaitable, Callable
from datetime import timedelta
from pathlib import Path

import pytest

from analysis.__main__ import main
from analysis.core.metrics import METRICS
from deploy.local.servers import PostgresServer
from shared.definition_log import make_load
from shared.definitions import parse_experiments
from tests.conftest import free_port
from tests.integration.analysis.log import START, connect, insert, make_session


@dataclasses.dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str


Run = Callable[..., Awaitable[Result]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command line in a thread: it brings its own event loop."""

    async def run(*arguments: str, dsn: str) -> Result:
        try:
            code = await asyncio.to_thread(main, [*arguments, "--dsn", dsn])
        except SystemExit as error:
            code = int(error.code or 0)
        output = capsys.readouterr()
        return Result(code, output.out, output.err)

    return run


def test_a_bad_setting_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD_FILE", "/nowhere")
    assert main([]) == 2
    fault = "setting SEGUE_POSTGRES_PASSWORD_FILE: /nowhere: No such file or directory"
    assert capsys.readouterr().err == f"analysis: {fault}\n"


async def test_a_process_of_its_own_does_the_same(run: Run, known_log: PostgresServer) -> None:
    process = await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "analysis", "results", "RECOMMENDERS"],
        env={**os.environ, "SEGUE_POSTGRES_DSN": known_log.dsn, "PYTHONWARNINGS": "error"},
        capture_output=True,
        text=True,
        check=True,
    )
    result = await run("RECOMMENDERS", dsn=known_log.dsn)
    assert (process.stdout, process.stderr) == (result.stdout, result.stderr)


@pytest.mark.parametrize("output_format", ["text", "markdown"])
async def test_a_reader_that_has_seen_enough_gets_no_traceback(
    output_format: str, known_log: PostgresServer
) -> None:
    read, write = os.pipe()
    os.close(read)
    with open(write, "wb") as closed:  # noqa: ASYNC230 - a pipe that is closed at its other end
        process = await asyncio.to_thread(
            subprocess.run,
            [sys.executable, "-m", "analysis", "RECOMMENDERS", "--format", output_format],
            env={**os.environ, "SEGUE_POSTGRES_DSN": known_log.dsn},
            stdout=closed,
            stderr=subprocess.PIPE,
            check=False,
        )
    assert process.stderr == b""


async def test_an_experiment_is_shown_within_100_columns(
    run: Run, known_log: PostgresServer
) -> None:
    result = await run("RECOMMENDERS", dsn=known_log.dsn)
    assert (result.returncode, result.stderr) == (0, "")
    lines = result.stdout.splitlines()
    assert max(len(line) for line in lines) <= 100
    assert lines[0] == "RECOMMENDERS  2026-03-10 12:00 to 2026-03-10 13:00 UTC, intervals at 95%"
    measured = [m for m in METRICS if m.name not in {"retention", "artists_per_session"}]
    for metric in measured:
        assert any(f" {metric.name} " in line for line in lines)
    assert "Not measured, no user has them: retention, artists_per_session." in result.stdout
    time = next(line for line in lines if re.search(r"T1 +time ", line)).split()
    assert time[:3] == ["T1", "time", "×1.00"]
    assert time[-5:] == ["2.000", "2.000", "1.000", "1.000", "no"]
    assert "Left out, seen under two treatments: 1 users with 5 events." in result.stdout
    assert "Sessions not closed yet: 1" in result.stdout
    assert "Sample ratio: as due (p = 1.000; users: C 2 of 2, T1 2 of 2 due)." in result.stdout


async def test_json_has_botifys_columns_and_more(run: Run, known_log: PostgresServer) -> None:
    result = await run("RECOMMENDERS", "--format", "json", "--alpha", "0.5", dsn=known_log.dsn)
    document = json.loads(result.stdout)
    assert document["alpha"] == 0.5
    assert [arm["treatment"] for arm in document["arms"]] == ["C", "T1"]
    row = document["effects"][2]
    assert row["metric"] == "mean_request_latency"
    assert (row["control_mean"], row["treatment_mean"]) == pytest.approx((3.0, 5.0))
    assert row["effect_pct"] == pytest.approx(100 * 2 / 3)
    assert set(row) >= {"treatment", "lower_pct", "upper_pct", "significant"}


async def test_csv_has_a_row_per_treatment_and_metric(run: Run, known_log: PostgresServer) -> None:
    result = await run("RECOMMENDERS", "--format", "csv", dsn=known_log.dsn)
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert [row["metric"] for row in rows] == [
        m.name for m in METRICS if m.name not in {"retention", "artists_per_session"}
    ]
    assert float(rows[0]["control_mean"]) == 2.0


async def test_markdown_is_a_table(run: Run, known_log: PostgresServer) -> None:
    result = await run("RECOMMENDERS", "--format", "markdown", dsn=known_log.dsn)
    assert "| T1 | time | ×1.00 |" in result.stdout
    assert result.stdout.startswith("## RECOMMENDERS\n")


async def test_another_arm_can_be_the_control(run: Run, known_log: PostgresServer) -> None:
    result = await run("RECOMMENDERS", "--control", "T1", "--format", "json", dsn=known_log.dsn)
    row = json.loads(result.stdout)["effects"][2]
    assert (row["treatment"], row["effect_pct"]) == ("C", pytest.approx(-40))


async def test_bounds_select_events(run: Run, known_log: PostgresServer) -> None:
    result = await run(
        "RECOMMENDERS", "--since", "2026-03-10T12:30", "--format", "json", dsn=known_log.dsn
    )
    assert [arm["n_events"] for arm in json.loads(result.stdout)["arms"]] == [1, 3]


async def test_weights_are_those_of_the_sample_ratio(run: Run, known_log: PostgresServer) -> None:
    result = await run(
        "RECOMMENDERS", "--weights", "C=3,T1=1", "--format", "json", dsn=known_log.dsn
    )
    assert json.loads(result.stdout)["sample_ratio"]["expected"] == {"C": 3.0, "T1": 1.0}


async def test_without_a_name_the_experiments_are_listed(
    run: Run, known_log: PostgresServer
) -> None:
    result = await run(dsn=known_log.dsn)
    cells = [line.split() for line in result.stdout.splitlines() if line.strip()]
    assert cells[0] == ["experiment", "state", "treatment", "users"]
    assert cells[2:] == [
        *(["AA", "—", "C", "5"], ["—", "T1", "1"]),
        *(["RECOMMENDERS", "—", "C", "2"], ["—", "T1", "2"]),
    ]


async def test_what_is_recorded_of_definitions_is_used(run: Run, known_log: PostgresServer) -> None:
    arms = "[{name: C, recommender: random}, {name: T1, recommender: random%s}]"
    definition = "serving: RECOMMENDERS\nexperiments:\n- {name: RECOMMENDERS, treatments: %s}\n"
    definition += "- {name: SOON, start: 2999-01-01T00:00:00Z, treatments: [{name: C}, {name: T1}]}"
    async with connect(known_log.dsn) as connection:
        for weight, minutes in (("", -5), (", weight: 3", 30)):
            experiments = parse_experiments((definition % (arms % weight)).encode())
            load = make_load(experiments, START + timedelta(minutes=minutes))
            await connection.execute(
                "INSERT INTO definitions VALUES ($1, $2)", load.digest, bytes(load.content).decode()
            )
            await connection.execute(
                "INSERT INTO definition_loads VALUES ($1, $2)", load.loaded_at, load.digest
            )
    listed = await run("--format", "csv", dsn=known_log.dsn)
    assert listed.stdout.splitlines()[1:] == [
        *("AA,over,C,5", "AA,over,T1,1"),
        *("RECOMMENDERS,running,C,2", "RECOMMENDERS,running,T1,2"),
        *("SOON,scheduled,C,0", "SOON,scheduled,T1,0"),
    ]
    result = await run("RECOMMENDERS", "--format", "json", dsn=known_log.dsn)
    report = json.loads(result.stdout)
    assert report["sample_ratio"]["expected"] == {"C": 1.0, "T1": 3.0}
    assert report["changes"] == ["2026-03-10 12:30 UTC: T1 weight from 1 to 3"]
    assert any("every number mixes" in note for note in report["notes"])
    soon = await run("SOON", dsn=known_log.dsn)
    assert (soon.returncode, soon.stderr) == (
        1,
        "analysis: SOON: no data yet: it is scheduled, and no event names it\n",
    )


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["NONE"], 2, "no experiment is called NONE; there are: AA, RECOMMENDERS"),
        (["RECOMMENDERS", "--control", "T9"], 2, "RECOMMENDERS has no users in T9; it has: C, T1"),
        (["RECOMMENDERS", "--weights", "C=1"], 2, "no weight for T1"),
        (
            ["RECOMMENDERS", "--since", "2030-01-01"],
            1,
            "RECOMMENDERS: no events between these times",
        ),
    ],
)
async def test_what_cannot_be_shown_is_one_line(
    run: Run, known_log: PostgresServer, arguments: list[str], code: int, message: str
) -> None:
    result = await run(*arguments, dsn=known_log.dsn)
    assert result.returncode == code
    assert result.stderr == f"analysis: {message}\n"
    assert result.stdout == ""


@pytest.mark.parametrize(
    "arguments",
    [["--alpha", "1"], ["--since", "yesterday"], ["--weights", "C"], ["--format", "xml"]],
)
async def test_impossible_options_are_refused(
    run: Run, database: PostgresServer, arguments: list[str]
) -> None:
    result = await run("RECOMMENDERS", *arguments, dsn=database.dsn)
    assert result.returncode == 2
    assert arguments[0] in result.stderr
    assert "Traceback" not in result.stderr


async def test_a_database_without_events_has_no_data_yet(
    run: Run, database: PostgresServer
) -> None:
    listing = await run(dsn=database.dsn)
    assert (listing.returncode, listing.stdout) == (
        0,
        "No data yet: no event names an experiment.\n",
    )
    one = await run("RECOMMENDERS", dsn=database.dsn)
    assert one.returncode == 2
    assert "no data yet" in one.stderr


async def test_an_experiment_with_one_arm_has_nothing_to_compare(
    run: Run, database: PostgresServer
) -> None:
    async with connect(database.dsn) as connection:
        await insert(connection, make_session(1, [1.0, 0.5], experiments={"RECOMMENDERS": "C"}))
    result = await run("RECOMMENDERS", dsn=database.dsn)
    assert result.returncode == 0
    assert "Only C has users: nothing to compare it with." in result.stdout


async def test_an_experiment_of_conflicts_has_nothing_to_compare(
    run: Run, database: PostgresServer
) -> None:
    async with connect(database.dsn) as connection:
        for minute, treatment in enumerate("CT"):
            at = START.replace(minute=minute)
            rows = make_session(1, [1.0], experiments={"RECOMMENDERS": treatment}, at=at)
            await insert(connection, rows)
    result = await run("RECOMMENDERS", dsn=database.dsn)
    assert result.returncode == 1
    assert "every user was seen under two treatments" in result.stderr


async def test_a_database_that_is_away_is_one_line(run: Run) -> None:
    result = await run("RECOMMENDERS", dsn=f"postgresql://postgres@127.0.0.1:{free_port()}/segue")
    assert result.returncode == 1
    assert result.stderr.startswith("analysis: no Postgres: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("dsn", ["nonsense", "http://127.0.0.1/segue"])
async def test_a_dsn_that_is_none_is_one_line(run: Run, dsn: str) -> None:
    result = await run("RECOMMENDERS", dsn=dsn)
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1


async def test_a_database_that_was_not_migrated_is_one_line(
    run: Run, postgres: PostgresServer
) -> None:
    result = await run("RECOMMENDERS", dsn=postgres.dsn.replace("/segue", "/postgres"))
    assert result.returncode == 1
    assert "start the logger, which migrates it" in result.stderr


async def test_json_says_whether_the_experiment_is_decided(
    run: Run, known_log: PostgresServer
) -> None:
    result = await run("RECOMMENDERS", "--format", "json", dsn=known_log.dsn)
    decision = json.loads(result.stdout)["decision"]
    assert (decision["reached"], decision["action"]) == (False, "continue")
    assert "2 users in an arm, of the 100" in decision["reason"]


async def test_the_options_are_the_rule(run: Run, known_log: PostgresServer) -> None:
    options = ["--metric", "time", "--worthwhile", "12", "--min-users", "2"]
    guardrails = ["--guardrail", "skip_rate=3", "--guardrail", "sessions"]
    result = await run("RECOMMENDERS", *options, *guardrails, "--format", "json", dsn=known_log.dsn)
    assert json.loads(result.stdout)["rule"] == {
        "metric": "time",
        "worthwhile_pct": 12.0,
        "guardrails": [
            {"metric": "skip_rate", "tolerance_pct": 3.0},
            {"metric": "sessions", "tolerance_pct": 0.0},
        ],
        "min_users": 2,
    }


async def test_guardrails_can_be_none(run: Run, known_log: PostgresServer) -> None:
    result = await run("RECOMMENDERS", "--guardrail", "none", "--format", "json", dsn=known_log.dsn)
    assert json.loads(result.stdout)["rule"]["guardrails"] == []


async def test_html_is_one_file_that_loads_nothing(
    run: Run, known_log: PostgresServer, tmp_path: Path
) -> None:
    page = tmp_path / "results.html"
    result = await run("RECOMMENDERS", "--format", "html", "--output", str(page), dsn=known_log.dsn)
    assert (result.returncode, result.stdout) == (0, "")
    text = page.read_text()
    assert "<svg" in text
    assert "mean_time_per_session" in text
    assert not re.search(r"(src|href)=[\"']?http", text.replace("xlink:href", ""))


async def test_png_is_a_picture(run: Run, known_log: PostgresServer, tmp_path: Path) -> None:
    picture = tmp_path / "forest.png"
    result = await run(
        "RECOMMENDERS", "--format", "png", "--output", str(picture), dsn=known_log.dsn
    )
    assert result.returncode == 0
    assert picture.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["RECOMMENDERS", "--metric", "joy"], "no metric is called joy; there are: time, "),
        (["RECOMMENDERS", "--worthwhile", "0"], "between 0 and 1000 percent"),
        (["--format", "png"], "name an experiment: a list has no png"),
        (["RECOMMENDERS", "--output", "/no/such/folder/x"], "/no/such/folder/x: No such file"),
    ],
)
async def test_what_cannot_be_decided_or_written_is_one_line(
    run: Run, known_log: PostgresServer, arguments: list[str], message: str
) -> None:
    result = await run(*arguments, dsn=known_log.dsn)
    assert result.returncode in {1, 2}
    assert message in result.stderr
    assert result.stderr.count("\n") == 1
