"""The rows in their formats, and the picture."""

import csv
import io
import json
from pathlib import Path

from rich.console import Console

from deploy.loop.measures import Day, Measured
from deploy.loop.picture import save_picture
from deploy.loop.report import make_table, to_csv, to_json, to_markdown

HISTORY = Day(day=0, n_sessions=97_000, n_events=630_000, control=Measured(2.5, 0.02, 1.8, 97_000))
FIRST = Day(
    day=1,
    n_sessions=20_000,
    n_events=350_000,
    control=Measured(2.2, 0.04, 1.5, 10_000),
    treatment=Measured(31.26, 1.24, 13.5, 10_000),
    ratio=Measured(14.2, 0.6),
    greedy=Measured(30.1, 2.4, 12.9, 2_000),
    oracle=Measured(475, 22, 263, 500),
    oracle_share=Measured(0.0634, 0.006),
    training_s=61.2,
    model_version="m1",
    metrics={"leave_one_out_correlation": 0.4567, "gamma": 0.8},
)
DAYS = [HISTORY, FIRST]


def test_the_table_has_a_row_per_day() -> None:
    output = io.StringIO()
    Console(file=output, width=150).print(make_table(DAYS))
    rows = output.getvalue().splitlines()
    assert "97,000" in rows[-3]
    numbers = "31.3 ± 1.2 13.50 14.20 ± 0.60 30.1 ± 2.4 6.3% ± 0.6 61.2 0.457"
    assert " ".join(rows[-2].split()) == f"1 20,000 350,000 2.20 ± 0.04 {numbers}"


def test_markdown_has_as_many_cells_in_every_line() -> None:
    lines = to_markdown(DAYS).splitlines()
    assert len(lines) == 4
    assert len({line.count("|") for line in lines}) == 1
    assert lines[3].startswith("| 1 | 20,000 | 350,000 | 2.20 ± 0.04 | 31.3 ± 1.2 |")


def test_json_has_everything() -> None:
    history, first = map(json.loads, to_json(DAYS).splitlines())
    assert history["treatment"] is None
    assert first["treatment"] == {
        "value": 31.26,
        "margin": 1.24,
        "median": 13.5,
        "n_sessions": 10_000,
    }
    assert first["metrics"]["gamma"] == 0.8


def test_csv_has_a_column_per_number() -> None:
    history, first = csv.DictReader(io.StringIO(to_csv(DAYS)))
    assert history["treatment_value"] == ""
    assert history["control_value"] == "2.5"
    assert first["treatment_margin"] == "1.24"
    assert first["metrics_gamma"] == "0.8"
    assert None not in {**history, **first}.values()


def test_a_picture_is_drawn_of_whatever_is_known(tmp_path: Path) -> None:
    bare = Day(day=1, n_sessions=9, n_events=9, control=FIRST.control, treatment=FIRST.treatment)
    for name, days in (("all", DAYS), ("bare", [HISTORY, bare]), ("history", [HISTORY])):
        path = tmp_path / "new" / f"{name}.png"
        save_picture(days, path, title=name)
        assert path.read_bytes().startswith(b"\x89PNG")
