"""Code that runs with a Ray cluster of its own, in a process of its own."""

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

needs_ray = pytest.mark.skipif(
    importlib.util.find_spec("ray") is None, reason="ray is not installed: the extra `ray`"
)


@pytest.fixture
def ray_folder() -> Iterator[Path]:
    """Give a short path, for the cluster's sockets; see that no process of it is left."""
    folder = Path(tempfile.mkdtemp(prefix="ray"))
    yield folder
    left = [p.pid for p in psutil.process_iter(["cmdline"]) if str(folder) in str(p.info)]
    for pid in left:
        psutil.Process(pid).kill()
    shutil.rmtree(folder, ignore_errors=True)
    assert left == []


def run_with_ray(code: str, words: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {"RAY_TMPDIR": str(folder), "RAY_USAGE_STATS_ENABLED": "0"}
    without = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return subprocess.run(
        [sys.executable, "-c", code, *words],
        env={**without, **environment},
        capture_output=True,
        text=True,
        timeout=150,
        check=False,
    )
