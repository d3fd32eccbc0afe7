"""The command, its engine in process, small."""

import json
from pathlib import Path
from typing import Any

import pytest

from deploy.loop.__main__ import main

WORDS = [
    *("--engine", "inprocess", "--days", "2", "--tracks", "400", "--users", "80"),
    *("--history", "1500", "--sessions", "300", "--judged", "40", "--bounded", "20"),
]


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    status = main([*WORDS, *words])
    captured = capsys.readouterr()
    return status, captured.out, captured.err


def without_clocks(output: str) -> list[dict[str, Any]]:
    return [json.loads(line) | {"training_s": None} for line in output.splitlines()]


def test_a_loop_learns_and_is_the_same_for_any_number_of_processes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    picture = tmp_path / "days.png"
    words = ("--format", "json", "--picture", str(picture))
    status, output, _ = run(capsys, *words, "--workers", "2")
    assert status == 0
    assert picture.exists()
    history, first, second = without_clocks(output)
    assert [day["n_sessions"] for day in (history, first, second)] == [1500, 300, 300]
    # A model knows all the days before it, and no other.
    learnt = [day["metrics"]["n_plays"] for day in (first, second)]
    assert 0 < learnt[0] < history["n_events"]
    assert learnt[0] < learnt[1] < history["n_events"] + first["n_events"]
    assert first["ratio"]["value"] - first["ratio"]["margin"] > 1
    assert first["oracle"] == second["oracle"]
    assert first["oracle"]["n_sessions"] == 20
    assert without_clocks(run(capsys, *words, "--workers", "1")[1]) == [history, first, second]


@pytest.mark.parametrize(
    "words", [["--days", "0"], ["--tracks", "x"], ["--engine", "cloud"], ["--workers", "0"]]
)
def test_wrong_words_are_refused(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refusal:
        run(capsys, *words)
    assert refusal.value.code == 2


def test_a_training_that_fails_leaves_the_days_before_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # One listener: the trainer refuses to learn from one alone.
    words = ("--users", "1", "--format", "json", "--picture", str(tmp_path / "days.png"))
    status, output, errors = run(capsys, *words)
    assert status == 1
    assert "one user" in errors
    assert [day["day"] for day in without_clocks(output)] == [0]


def test_a_picture_that_cannot_be_drawn_is_refused_before_anything_is_played(
    capsys: pytest.CaptureFixture[str],
) -> None:
    status, output, errors = run(capsys, "--picture", "days.txt")
    assert (status, output) == (2, "")
    assert "days.txt: a picture is one of .png, .svg, .pdf" in errors


def test_a_world_that_cannot_be_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    status, _, errors = run(capsys, "--epsilon", "2")
    assert status == 2
    assert "epsilon" in errors
