"""The commands that the documentation shows, found in its fenced blocks."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")])

_BLOCK = re.compile(r"^```(sh|bash|console)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_COMMENT = re.compile(r"\s+#\s.*$")


@dataclass(frozen=True)
class Command:
    """A command as a reader would copy it.

    Attributes:
        page: Where it stands, from the root.
        text: On one line, without comment or prompt.
    """

    page: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}: {self.text}"


def find_commands(page: Path) -> Iterator[Command]:
    """Find the commands of a page, in order; of a console, the lines after `$ `."""
    for language, block in _BLOCK.findall(page.read_text()):
        lines = block.replace("\\\n", " ").splitlines()
        if language == "console":
            lines = [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]
        for line in lines:
            text = " ".join(_COMMENT.sub("", line).split())
            if text and not text.startswith("#"):
                yield Command(str(page.relative_to(ROOT)), text)


COMMANDS = [command for page in PAGES for command in find_commands(page)]

# Commands that the tests of the circle do not run, and why; a pattern stands for whole commands,
# with the page before them.
NOT_EXECUTED = {
    r".*: (\w+=\S+ )*make .*": "needs a .venv of its own; it is expanded here",
    r".*: python -m benchmarks\..*": "takes minutes; its options are checked",
    r".*: psql .*": "a client that we do not install; tests run the queries",
    r".*: python -m analysis off-policy .*": "so small a log cannot say; its tests ask larger ones",
    r".*: python -m analysis import .*": "would double the log for the tests after it",
    r"docs/adding-a-recommender.md: .*": "its experiment is there once the reader has added it",
    r"docs/deployment.md: .*": "needs an engine or a cluster; its files are checked by `make lint`",
    r"docs/export.md: .*": "the tests of the export run what it shows",
    r"docs/simulator.md: .*": "the simulator's tests run what they show",
    r"docs/training.md: python -m services.trainer map .*": "names a version of the reader's",
}


def is_executed(command: Command) -> bool:
    """Whether the tests of the circle run a command."""
    return not any(re.fullmatch(pattern, plain(str(command))) for pattern in NOT_EXECUTED)


def plain(text: str) -> str:
    """Return a command as it would be in an active environment."""
    return text.replace(".venv/bin/python", "python")
