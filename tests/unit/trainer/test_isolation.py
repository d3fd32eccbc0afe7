"""The trainer and the recommender see the log and the catalogue, never the listeners' truth."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
BLIND = sorted(
    path
    for package in ("services/trainer", "services/recommender", "shared")
    for path in (ROOT / package).rglob("*.py")
)

BY_NAME = ROOT / "shared/extras.py"  # imports what its caller names


def imports_of(path: Path) -> set[str]:
    """Return what a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            names.add(node.module or "")
    return names


def test_there_are_modules_to_look_at() -> None:
    assert ROOT / "services/trainer/job.py" in BLIND


@pytest.mark.parametrize("path", BLIND, ids=lambda path: str(path.relative_to(ROOT)))
def test_nothing_imports_the_simulator_or_names_its_files(path: Path) -> None:
    assert not {name for name in imports_of(path) if name.split(".")[0] == "simulator"}
    text = path.read_text()
    assert not re.search(r"import_extra\(\s*.simulator", text)
    if path == BY_NAME:
        return
    for secret in ("users.json", "tracks.npy", "importlib.import_module", "__import__"):
        assert secret not in text, f"{path} mentions {secret}"
