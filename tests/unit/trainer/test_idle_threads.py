"""Threads that wait do not take the processor from the services beside them."""

import os
import subprocess
import sys

import pytest


@pytest.mark.parametrize(("said", "expected"), [(None, "passive"), ("active", "active")])
@pytest.mark.parametrize("module", ["services.trainer.job", "services.trainer.cli"])
def test_how_threads_wait_is_said_before_torch_asks(
    module: str, said: str | None, expected: str
) -> None:
    code = f"""
import os, sys
class Finder:
    def find_spec(self, name, path=None, target=None):
        if name == "torch":
            print(os.environ.get("OMP_WAIT_POLICY"))
            sys.exit(0)
sys.meta_path.insert(0, Finder())
import {module}
import torch
"""
    environment = {k: v for k, v in os.environ.items() if k != "OMP_WAIT_POLICY"}
    environment |= {"OMP_WAIT_POLICY": said} if said else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == expected
