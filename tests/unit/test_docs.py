"""The documentation's links lead somewhere, and its examples can be read."""

import re
import shlex
from pathlib import Path

import pytest

from services.recommender.core.policies import make_policies
from shared.definitions import parse_experiments
from simulator.cli import make_parser

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?://|#)([^)#\s]+)", page.read_text())
    missing = [target for target in targets if not (page.parent / target).exists()]
    assert missing == []


def test_the_example_of_experiments_can_be_served() -> None:
    page = (ROOT / "docs/experiments.md").read_text()
    (example,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    policies = make_policies(parse_experiments(example.encode()))
    assert {name for _, name in policies} == {"C", "T1", "default"}


def test_the_example_of_layers_can_be_served() -> None:
    page = (ROOT / "docs/experiments.md").read_text()
    (example,) = re.findall(r"```yml\n(.*?)```", page, re.DOTALL)
    experiments = parse_experiments(example.encode())
    assert {name for name, _ in make_policies(experiments)} == {"", *experiments.serving_names}


def test_every_decision_is_listed() -> None:
    index = (ROOT / "docs/adr/README.md").read_text()
    pages = sorted(path.name for path in ROOT.glob("docs/adr/0*.md"))
    assert re.findall(r"\((0\d+-[a-z-]+\.md)\)", index) == pages


def find_commands(page: Path, module: str) -> list[list[str]]:
    text = page.read_text().replace("\\\n", " ")
    lines = re.findall(rf"^\.venv/bin/python -m {module} (.*)$", text, re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines]


def test_the_simulators_commands_are_commands() -> None:
    commands = [words for page in PAGES for words in find_commands(page, "simulator")]
    assert len(commands) > 10
    for words in commands:
        make_parser().parse_args(words)


def test_the_example_of_the_environment_runs(capsys: pytest.CaptureFixture[str]) -> None:
    page = (ROOT / "docs/simulator.md").read_text()
    (example,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    exec(compile(example, "docs/simulator.md", "exec"), {})  # noqa: S102
    reward = re.fullmatch(r"(\d\.\d\d) a session\n", capsys.readouterr().out)
    assert reward is not None
    assert 1.7 < float(reward[1]) < 2.6  # random's
