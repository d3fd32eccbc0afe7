"""Delete what an image of installed packages never reads: `python prune.py VENV`.

Their own test suites and the sources of what is compiled make up to half of a numerical package.
"""

import shutil
import sys
from pathlib import Path

TESTS = "tests"
SOURCES = {".a", ".c", ".cc", ".cpp", ".cu", ".cuh", ".h", ".hpp", ".pxd", ".pxi", ".pyx"}


def prune(folder: Path) -> None:
    """Delete the packages' tests and sources below a folder."""
    for path in sorted(folder.rglob(TESTS)):
        # A module may be called so too; a package of tests below one is not imported by it.
        if path.is_dir() and path.exists():
            shutil.rmtree(path)
    for path in folder.rglob("*"):
        if path.suffix in SOURCES and path.is_file():
            path.unlink()


if __name__ == "__main__":
    prune(Path(sys.argv[1]))
