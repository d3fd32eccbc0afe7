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
