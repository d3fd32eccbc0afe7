"""The commands of the documentation, run as a reader runs them, one after another.

They run in a folder of their own that looks like the repository after `make demo`: its stack, its
world, its interpreter. Only sizes and ports are others.
"""

import asyncio
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import asyncpg
import httpx
import pytest

from deploy.local.settings import SERVICES
from shared.events import Event, encode_event, make_event_id, truncate_to_milliseconds
from shared.experiments import FIRST_VISITOR
from tests.documentation import COMMANDS, ROOT, is_executed
from tests.e2e.conftest import RunningStack

SMALLER = {
    r"--episodes \d+": "--episodes 30",
    r"--sessions \d+": "--sessions 50",
    r"--splits \d+": "--splits 10",
    r"--epochs \d+": "--epochs 1",
    r'"epochs": \d+': '"epochs": 1',
}
# What a command answers when another got in before it; a reader would see the same.
EXPECTED_CONFLICTS = re.compile(r"/train|/models/rollback")

BOTIFY_LINE = """
SELECT json_build_object(
    'message', message, 'timestamp', (extract(epoch FROM occurred_at) * 1000)::bigint,
    'user', user_id, 'track', track_id, 'time', time, 'latency', latency,
    'recommendation', recommendation, 'experiments', experiments
)::text FROM events ORDER BY occurred_at LIMIT 500
"""

TEXTS = list(dict.fromkeys(command.text for command in COMMANDS if is_executed(command)))


@pytest.fixture(scope="module")
def desk(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Make the folder in which a reader would be, and the files that the pages assume."""
    folder = tmp_path_factory.mktemp("desk")
    for name in ("deploy", "analysis", "simulator", "services", "shared"):
        (folder / name).symlink_to(ROOT / name)
    state = Path(stack.environment["SEGUE_STATE"])
    (folder / ".segue").symlink_to(state)
    (folder / "tmp").mkdir()
    python = folder / ".venv/bin/python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    shutil.copy(state / "world/tracks.json", folder / "tracks.json")
    (folder / "data.json").write_text(asyncio.run(fetch_log(stack.dsn)))
    models = httpx.get(f"{stack.url('trainer')}/models", timeout=30).json()
    version = models[0]["model_version"]
    lines = httpx.get(f"{stack.url('trainer')}/models/{version}/tracks_with_recs", timeout=60)
    (folder / "tracks_with_recs.json").write_bytes(lines.content)
    (folder / "events.jsonl").write_bytes(make_line())
    yield folder
    end_trainings(stack.url("trainer"))
    httpx.post(f"{stack.url('trainer')}/models/{version}/activate", timeout=30)


async def fetch_log(dsn: str) -> str:
    """Fetch some of the log in botify's format."""
    connection = await asyncpg.connect(dsn)
    try:
        rows = await connection.fetch(BOTIFY_LINE)
    finally:
        await connection.close()
    return "".join(f"{row[0]}\n" for row in rows)


def make_line() -> bytes:
    """Make an event of another producer."""
    at = truncate_to_milliseconds(datetime.now(UTC))
    event = Event(
        event_id=make_event_id(at),
        message="last",
        timestamp=at,
        user=FIRST_VISITOR,
        session=make_event_id(at),
        position=0,
        track=1,
        time=1.0,
    )
    return encode_event(event) + b"\n"


def end_trainings(url: str) -> None:
    """Wait until no training runs."""
    deadline = time.monotonic() + 120
    while any(job["status"] == "running" for job in httpx.get(f"{url}/train", timeout=30).json()):
        assert time.monotonic() < deadline
        time.sleep(0.5)


def adapt(text: str, stack: RunningStack, desk: Path) -> str:
    """Point a command at the tests' stack, and make it smaller."""
    for pattern, smaller in SMALLER.items():
        text = re.sub(pattern, smaller, text)
    for name, port in SERVICES.items():
        text = text.replace(f"localhost:{port}", stack.url(name).removeprefix("http://"))
    text = text.replace("RECOMMENDERS", "CONTEXTUAL")  # the experiment that this stack has
    text = re.sub(r"(?<!\S)python -m", ".venv/bin/python -m", text)
    text = re.sub(r"\bcurl -s ", "curl -sS -w '\\\\nstatus %{http_code}' ", text)
    return text.replace("/tmp/", f"{desk}/tmp/")


@pytest.mark.parametrize("text", TEXTS)
def test_a_documented_command_works(text: str, stack: RunningStack, desk: Path) -> None:
    settings = {
        "PYTHONPATH": str(ROOT),
        "SEGUE_SIMULATOR_WORLD": str(desk / ".segue/world"),
        "SEGUE_POSTGRES_DSN": stack.dsn,
        "SEGUE_REDIS_URL": f"redis://127.0.0.1:{stack.environment['SEGUE_REDIS_PORT']}/0",
        "OMP_NUM_THREADS": "1",
    }
    result = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", adapt(text, stack, desk)],
        cwd=desk,
        env=os.environ | stack.environment | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    if status := re.search(r"status (\d+)$", result.stdout):
        is_conflict = status[1] == "409" and EXPECTED_CONFLICTS.search(text)
        assert is_conflict or status[1].startswith("2"), result.stdout
