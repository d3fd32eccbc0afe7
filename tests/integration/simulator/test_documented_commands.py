"""The simulator's commands in the documentation work, copied line by line, at a smaller size."""

import re
import shlex
from pathlib import Path

import pytest

from simulator.cli import main
from tests.integration.simulator.background import serving
from tests.integration.simulator.services import FakeLogger, FakeRecommender

ROOT = Path(__file__).parents[3]
SMALLER = {"--tracks": "1000", "--users": "200", "--sessions": "60", "--episodes": "40"}
# What these need, a play log and a cluster, their own tests make.
ELSEWHERE = {("world", "from-plays"): "test_play_worlds.py", ("ray",): "test_engines.py"}


def find_commands(page: str) -> list[list[str]]:
    text = (ROOT / page).read_text().replace("\\\n", " ")
    lines = re.findall(r"^\.venv/bin/python -m simulator (.*)$", text, re.MULTILINE)
    commands = [shlex.split(line, comments=True) for line in lines]
    return [words for words in commands if not any(set(e) <= set(words) for e in ELSEWHERE)]


def shrink(words: list[str], folder: Path) -> list[str]:
    """Make a command small, and keep its files in a folder."""
    small = [words[0], *words[1:]]
    for i, word in enumerate(words):
        if word in SMALLER:
            small[i + 1] = SMALLER[word]
        elif word.startswith("/tmp/"):
            small[i] = str(folder / word.removeprefix("/tmp/"))
        elif word == ".segue/world":
            small[i] = str(folder / "world")
    return small


def test_every_command_works_after_those_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    commands = find_commands("docs/simulator.md")
    make = next(words for words in commands if words[:2] == ["world", "make"])
    commands = [make, *find_commands("README.md"), *commands]  # the README's world is the demo's
    assert len(commands) > 10
    recommender, logger = FakeRecommender(int(SMALLER["--tracks"])), FakeLogger()
    monkeypatch.setenv("SEGUE_SIMULATOR_WORLD", str(tmp_path / "world"))
    with serving(recommender.make_server()) as url, serving(logger.make_server()) as logger_url:
        monkeypatch.setenv("SEGUE_SIMULATOR_RECOMMENDER__URL", url)
        monkeypatch.setenv("SEGUE_SIMULATOR_LOGGER__URL", logger_url)
        for words in commands:
            assert main(shrink(words, tmp_path)) == 0, words
    assert recommender.requests
    assert logger.stored
    assert (tmp_path / "rewards.png").stat().st_size > 0
    assert "variance" in capsys.readouterr().out  # replay compares in pairs


@pytest.mark.parametrize(("words", "test"), ELSEWHERE.items())
def test_what_is_left_out_is_tested_elsewhere(words: tuple[str, ...], test: str) -> None:
    text = (Path(__file__).parent / test).read_text()
    assert all(f'"{word}"' in text for word in words)
