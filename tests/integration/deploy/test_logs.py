"""Reading log files."""

import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from deploy.display import format_duration
from deploy.logs import BLOCK, Follower, last_lines, show_logs


def test_an_absent_log_is_empty(tmp_path: Path) -> None:
    assert last_lines(tmp_path / "log", 5) == []


def test_the_last_lines_of_a_long_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    lines = [f"line {number} {'x' * 100}" for number in range(BLOCK // 50)]
    log.write_text("\n".join(lines) + "\n")
    assert last_lines(log, 3) == lines[-3:]
    assert last_lines(log, len(lines)) == lines


@given(st.lists(st.text("ab", max_size=5), max_size=10), st.integers(1, 12))
def test_the_last_lines_are_the_end_of_all_lines(lines: list[str], n_lines: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder, "log")
        log.write_text("".join(f"{line}\n" for line in lines))
        assert last_lines(log, n_lines) == lines[-n_lines:]


def test_a_follower_reads_whole_lines_that_are_added(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("old\n")
    follower = Follower({"one": log, "absent": tmp_path / "absent"})
    with log.open("a") as file:
        file.write("new\nhal")
        file.flush()
        assert follower.poll() == [("one", "new")]
        file.write("f\n")
        file.flush()
        assert follower.poll() == [("one", "half")]


def test_a_follower_starts_again_when_a_log_was_rotated(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("a long line of the old file\n")
    follower = Follower({"one": log})
    log.write_text("new\n")
    assert follower.poll() == [("one", "new")]


def test_lines_are_named_if_there_are_several_logs(tmp_path: Path) -> None:
    paths = {name: tmp_path / name for name in ("a", "long")}
    for path in paths.values():
        path.write_text("word\n")
    written: list[str] = []
    show_logs(paths, n_lines=5, follow=False, write=written.append)
    show_logs({"a": paths["a"]}, n_lines=5, follow=False, write=written.append)
    assert written == ["a    | word", "long | word", "word"]


def test_durations_have_two_units_at_most() -> None:
    assert [format_duration(seconds) for seconds in (0, 59.9, 61, 7_260)] == [
        *("0 s", "59 s", "1 min 1 s", "2 h 1 min")
    ]
