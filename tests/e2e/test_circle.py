"""The circle: listeners, answers, rows, a model, and the difference that it makes."""

import asyncio
import json
import os
import signal
import subprocess
from typing import Any

import asyncpg
import httpx
import pytest

from tests.e2e.conftest import ROOT, RunningStack


def effects(analysis: dict[str, Any], treatment: str = "T1") -> dict[str, dict[str, Any]]:
    rows = analysis["effects"]
    return {row["metric"]: row for row in rows if row["treatment"] == treatment}


async def fetch(stack: RunningStack, query: str, *arguments: object) -> Any:
    connection = await asyncpg.connect(stack.dsn)
    try:
        return await connection.fetchval(query, *arguments)
    finally:
        await connection.close()


def test_the_demonstration_ends_with_a_table_and_where_to_go(stack: RunningStack) -> None:
    assert "mean_time_per_session" in stack.demo
    assert stack.url("recommender") in stack.demo
    assert "make down" in stack.demo


def test_the_fresh_model_beats_random(stack: RunningStack) -> None:
    analysis = stack.analyse("CONTEXTUAL")
    found = [effects(analysis, arm)["mean_time_per_session"] for arm in ("T1", "T2")]
    for effect in found:
        assert effect["significant"]
        assert effect["lower_pct"] > 0
        assert effect["treatment_mean"] > effect["control_mean"]
    contextual, session = found
    assert session["lower_pct"] > contextual["effect_pct"]


def test_an_aa_split_shows_nothing(stack: RunningStack) -> None:
    # Latency is left out: it alone is not reproducible from the seeds.
    rows = effects(stack.analyse("AA"))
    tested = {m: row["p_holm"] for m, row in rows.items() if "latency" not in m and row["p_holm"]}
    assert {"time", "mean_time_per_session", "skip_rate", "artists_per_session"} <= tested.keys()
    assert min(tested.values()) > 0.005


def test_the_same_seed_gives_the_same_summary(stack: RunningStack) -> None:
    single = ("simulator", "--episodes", "200", "--config", "deploy/simulator.yaml", "single")
    arguments = (*single, "--recommender", "remote", "--seed", "31337", "--days", "1", "--json")
    assert stack.run(*arguments) == stack.run(*arguments)


async def test_a_killed_logger_loses_and_doubles_nothing(stack: RunningStack) -> None:
    stack.wait_until_stored()
    before = await fetch(stack, "SELECT count(*) FROM events")
    n_dead_before = await fetch(stack, "SELECT count(*) FROM dead_letters")
    run = stack.episodes(episodes=2_000, seed=11)
    simulator = await asyncio.create_subprocess_exec(
        *stack.command(*run), cwd=ROOT, env=stack.environment, stdout=subprocess.PIPE
    )
    kills = 0
    while simulator.returncode is None and kills < 4:
        await asyncio.sleep(1)
        kills += kill_logger(stack)
    output, _ = await simulator.communicate()
    assert simulator.returncode == 0
    assert kills > 0
    stack.wait_until_stored()
    n_rows = await fetch(stack, "SELECT count(*) FROM events") - before
    assert n_rows == summed(output, "tracks")
    distinct = "SELECT count(*) - count(DISTINCT event_id) FROM events"
    assert await fetch(stack, distinct) == 0
    assert await fetch(stack, "SELECT count(*) FROM dead_letters") == n_dead_before


def kill_logger(stack: RunningStack) -> bool:
    """Kill the logger's process outright; the supervisor starts another."""
    table = stack.run("deploy.local", "ps")
    line = next(line for line in table.splitlines() if "logger" in line)
    pid = next((int(word) for word in line.split() if word.isdecimal()), None)
    if pid is None:  # between two lives
        return False
    os.kill(pid, signal.SIGKILL)
    return True


def summed(output: bytes, column: str) -> int:
    summary = json.loads(output)
    return round(summary[column]["mean"] * summary["n_sessions"])


async def test_models_swap_under_load_without_a_failed_request(stack: RunningStack) -> None:
    async with httpx.AsyncClient(base_url=stack.url("trainer"), timeout=60) as trainer:
        job = (await trainer.post("/train", json={"recipe": "track_only", "epochs": 1})).json()
        while job["status"] == "running":
            await asyncio.sleep(0.3)
            job = (await trainer.get(f"/train/{job['job_id']}")).json()
        assert job["status"] == "succeeded", job
        versions = [model["model_version"] for model in (await trainer.get("/models")).json()][:2]
        assert len(set(versions)) == 2

        run = stack.episodes(episodes=2_500, seed=12)
        simulator = await asyncio.create_subprocess_exec(
            *stack.command(*run), cwd=ROOT, env=stack.environment, stdout=subprocess.PIPE
        )
        finished = asyncio.create_task(simulator.communicate())
        swaps = 0
        while not finished.done():
            version = versions[swaps % 2]
            answer = await trainer.post(f"/models/{version}/activate")
            assert answer.status_code == 200, answer.text
            swaps += 1
            await asyncio.wait({finished}, timeout=0.7)
        await finished
    assert simulator.returncode == 0
    assert swaps >= 4
    stack.wait_until_stored()
    served = await fetch(
        stack,
        "SELECT count(DISTINCT model_version) FROM events WHERE model_version = ANY($1)",
        versions,
    )
    assert served == 2


@pytest.mark.parametrize("service", ["recommender", "trainer", "logger"])
def test_every_service_documents_itself(stack: RunningStack, service: str) -> None:
    document = httpx.get(f"{stack.url(service)}/openapi.json").json()
    assert document["info"]["title"].startswith("Segue")
    assert httpx.get(f"{stack.url(service)}/metrics").status_code == 200
