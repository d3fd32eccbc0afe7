"""`python -m services.recommender check` and `schema`, as a person runs them."""

from pathlib import Path

import pytest

from services.recommender.__main__ import main
from services.recommender.core.schema import write_schema

LAYERED = """
serving: [NOW, NEXT]
holdout: {share: 0.05}
experiments:
  - name: NOW
    layer: MAIN
    traffic: [0, 0.5]
    end: 2020-01-01T00:00:00Z
    treatments: [{name: C, recommender: random}, {name: T1, weight: 3, recommender: top_pop}]
  - name: NEXT
    layer: MAIN
    traffic: [0, 1]
    start: 2999-01-01T00:00:00Z
    treatments: [{name: C, recommender: random}, {name: T1, recommender: top_pop}]
  - {name: AA, coverage: 0.5, treatments: [{name: C}, {name: T1}]}
"""


def write(folder: Path, text: str) -> str:
    path = folder / "definitions.yaml"
    path.write_text(text)
    return str(path)


def test_good_definitions_are_summed_up(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check", write(tmp_path, LAYERED)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "HOLDOUT: 5.0% of the users held out",
        "NOW: serving, ended; until 2020-01-01T00:00:00+00:00; 0.0% to 50.0% of layer MAIN; "
        "C 25% random; T1 75% top_pop",
        "NEXT: serving, scheduled; from 2999-01-01T00:00:00+00:00; 0.0% to 100.0% of layer MAIN; "
        "C 50% random; T1 50% top_pop",
        "AA: logged, running; 50.0% of the users; C 50%; T1 50%",
    ]


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("share: 0.05", "share: 5", "line 3: holdout.share: Expected `float` < 0.5"),
        ("recommender: top_pop", "recommender: oracle", "NOW: treatment T1: recommender 'oracle'"),
        (
            "recommender: random",
            "recommender: random, parameters: {max_per_artist: 0}",
            "NOW: treatment C: random: Expected `int` >= 1",
        ),
    ],
)
def test_a_fault_is_named_with_its_file_and_key(
    old: str, new: str, fault: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path, LAYERED.replace(old, new))
    assert main(["check", path]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith(f"{path}: {fault}")
    assert captured.err.count("\n") == 1


def test_the_file_of_the_settings_is_the_default(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_RECOMMENDER_EXPERIMENTS", write(tmp_path, LAYERED))
    assert main(["check"]) == 0
    assert "NOW: serving" in capsys.readouterr().out


def test_the_schema_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    assert capsys.readouterr().out == write_schema()


def test_other_words_are_wrong_usage(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["chekc"])
    assert "usage" in capsys.readouterr().err
