import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize("service", ["recommender", "trainer", "logger"])
def test_an_impossible_setting_is_named_in_one_line(service: str) -> None:
    result = subprocess.run(
        [sys.executable, "-m", f"services.{service}"],
        env={**os.environ, f"SEGUE_{service.upper()}_PORT": "five"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr.startswith("setting port:")
    assert len(result.stderr.splitlines()) == 1


def test_a_dashboard_without_its_definitions_says_so_in_one_line() -> None:
    result = subprocess.run(
        [sys.executable, "-m", "services.dashboard"],
        env={**os.environ, "SEGUE_DASHBOARD_EXPERIMENTS": "/nowhere.yaml"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert result.returncode == 2
    assert result.stderr == (
        "experiments (SEGUE_DASHBOARD_EXPERIMENTS): /nowhere.yaml: No such file or directory\n"
    )
