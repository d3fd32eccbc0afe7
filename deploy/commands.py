"""Run one of Segue's own commands, its output in a log file."""

import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from deploy.errors import DeployError
from deploy.logs import last_lines

ROOT = Path(__file__).parents[1]
LOG_LINES = 15
POLL_S = 0.2


class CommandError(DeployError):
    """A command that failed; the message has the end of its log and where the log is."""


def run_module(
    arguments: Sequence[str],
    *,
    log: Path,
    environment: Mapping[str, str],
    show: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Run `python -m ARGUMENTS` and return the lines that it wrote.

    Args:
        arguments: Module and its arguments.
        log: Gets the output; overwritten.
        environment: Of the command.
        show: Called with the last line now and then while it runs.

    Raises:
        CommandError: If it exits with another status than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("wb") as output:
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env={**environment, "PYTHONUNBUFFERED": "1"},
        )
    try:
        while process.poll() is None:
            for line in last_lines(log, 1):
                show(line)
            time.sleep(POLL_S)
    finally:
        if process.poll() is None:
            process.terminate()
            process.wait()
    if process.returncode != 0:
        lines = "".join(f"\n  {line}" for line in last_lines(log, LOG_LINES)) or " nothing"
        command = " ".join(["python", "-m", *arguments])
        raise CommandError(
            f"`{command}` exited with status {process.returncode}. Its log ends with{lines}\n"
            f"The whole log: {log}"
        )
    return log.read_text(errors="replace").splitlines()
