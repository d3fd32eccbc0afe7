"""`python -m analysis plan` and `aa`, as a person runs them."""

import json

import pytest

from analysis.__main__ import main
from deploy.local.servers import PostgresServer
from tests.integration.analysis.test_command_line import Run, run

__all__ = ["run"]


async def test_a_plan_says_how_many_users_it_takes(run: Run, known_log: PostgresServer) -> None:
    result = await run(
        "plan", "RECOMMENDERS", "--worthwhile", "10", "--format", "json", dsn=known_log.dsn
    )
    plans = {plan["metric"]: plan for plan in json.loads(result.stdout)}
    # time in C: mean 2, variance 0.5: 2 * 0.5 * (1.95996 + 0.84162)**2 / 0.2**2 = 196.2
    assert plans["time"]["required_users"] == 197
    assert plans["time"]["mean"] == 2.0
    assert plans["time"]["detectable_pct"] == pytest.approx(100 * 2.80158 * 0.5**0.5 / 2, rel=1e-4)
    # nobody fell back: a mean of 0 has no relative change
    assert plans["fallback_share"]["required_users"] is None


@pytest.mark.parametrize("output_format", ["text", "markdown"])
async def test_a_plan_is_a_table(run: Run, known_log: PostgresServer, output_format: str) -> None:
    result = await run("plan", "RECOMMENDERS", "--format", output_format, dsn=known_log.dsn)
    assert result.returncode == 0
    assert "mean_time_per_session" in result.stdout
    assert "to see a change of 5%" in result.stdout
    assert "nan" not in result.stdout


async def test_an_arm_without_users_cannot_be_planned_from(
    run: Run, known_log: PostgresServer
) -> None:
    result = await run("plan", "RECOMMENDERS", "--arm", "T9", dsn=known_log.dsn)
    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr == "analysis: RECOMMENDERS has no users in T9 to plan from\n"


async def test_splitting_an_arm_shows_how_often_each_test_errs(
    run: Run, known_log: PostgresServer
) -> None:
    result = await run("aa", "AA", "--splits", "50", "--format", "json", dsn=known_log.dsn)
    results = {entry["metric"]: entry for entry in json.loads(result.stdout)}
    assert results["time"]["n_users"] == 5
    assert 0 < results["time"]["n_splits"] <= 50
    assert results["fallback_share"]["false_positives"] is None  # nobody fell back
    table = await run("aa", "AA", "--splits", "5", dsn=known_log.dsn)
    assert "5% is due" in table.stdout
    assert "nan" not in table.stdout


async def test_an_arm_without_users_cannot_be_split(run: Run, known_log: PostgresServer) -> None:
    result = await run("aa", "NONE", dsn=known_log.dsn)
    assert (result.returncode, result.stderr) == (1, "analysis: NONE: no users in C\n")


@pytest.mark.parametrize(
    "words",
    [
        ["aa", "AA", "--splits", "0"],
        ["aa", "AA", "--seed=-1"],
        ["plan", "AA", "--power", "2"],
        ["off-policy", "AA", "--seed=-1", "--policy", "T1"],
    ],
)
def test_impossible_options_are_refused(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main(words)
    assert f"argument {words[2].partition('=')[0]}: " in capsys.readouterr().err
