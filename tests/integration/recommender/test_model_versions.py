import asyncio
import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from redis.asyncio import Redis

from deploy.local.servers import ValkeyServer
from shared.artifacts import activate_model, publish_model
from tests.integration.recommender.conftest import Service, serving, until
from tests.unit.recommender.factories import (
    EXPERIMENTS,
    FIRST_ID,
    N_TRACKS,
    TREATED,
    make_arrays,
    make_settings,
    make_tracks,
    make_version,
)

CATALOG = make_tracks()


@pytest.fixture
async def service(redis: Redis, valkey: ValkeyServer, tmp_path: Path) -> AsyncIterator[Service]:
    """Return a recommender beside the shared Valkey, with version `m1` serving."""
    await publish_model(redis, make_version("m1", CATALOG))
    async with serving(tmp_path, valkey.url, deadline_s=5) as running:
        yield running


def only_neighbours(shift: int) -> dict[str, Any]:
    """Make neighbours that tell their version: row i has i + shift alone."""
    rows = (np.arange(N_TRACKS, dtype=np.int32) + shift) % N_TRACKS
    return {"neighbours": rows[:, None].astype(np.int32)}


async def served_version(service: Service) -> str | None:
    answer = (await service.last(TREATED)).json()
    assert answer["user"] == TREATED
    version: str | None = (await service.next(TREATED)).json().get("model_version")
    return version


async def until_served(service: Service, version: str) -> None:
    async def is_served() -> bool:
        return await served_version(service) == version

    await until(is_served)


async def test_a_published_version_serves_without_a_restart(redis: Redis, service: Service) -> None:
    assert await served_version(service) == "m1"
    await publish_model(redis, make_version("m2", CATALOG))
    await until_served(service, "m2")
    metrics = (await service.client.get("/metrics")).text
    assert 'segue_model_info{model_version="m2"} 1.0' in metrics
    assert "m1" not in metrics
    assert "segue_model_created_timestamp_seconds" in metrics


async def test_rollback_is_the_pointer_moved_back(redis: Redis, service: Service) -> None:
    await publish_model(redis, make_version("m2", CATALOG))
    await until_served(service, "m2")
    await activate_model(redis, "m1")
    await until_served(service, "m1")


async def test_swaps_under_load_fail_nothing_and_mix_nothing(
    redis: Redis, service: Service
) -> None:
    for shift in (1, 2):
        await publish_model(
            redis, make_version(f"shift-{shift}", CATALOG, only_neighbours(shift)), activate=False
        )
    answers: list[tuple[int, dict[str, Any]]] = []
    is_done = asyncio.Event()

    async def listen(user: int) -> None:
        while not is_done.is_set():
            response = await service.next(user)
            assert response.status_code == 200
            answers.append((user, response.json()))
            assert (await service.last(user)).status_code == 200

    listeners = [asyncio.create_task(listen(user)) for user in (1, 2, 4, 7, 8, 9)]  # all treated
    for turn in range(10):
        await activate_model(redis, f"shift-{1 + turn % 2}")
        await asyncio.sleep(0.12)
    is_done.set()
    await asyncio.gather(*listeners)
    seen = {answer["model_version"] for _, answer in answers}
    assert seen >= {"shift-1", "shift-2"}
    for _, answer in answers:
        name, _, shift = answer["model_version"].partition("-")
        if name == "shift":
            assert answer["track"] == FIRST_ID + int(shift)


@pytest.mark.parametrize("fault", ["damaged", "missing", "out of range", "mismatch", "pickle"])
async def test_a_broken_version_is_refused_and_the_old_one_stays(
    redis: Redis, service: Service, fault: str
) -> None:
    version = make_version("bad", CATALOG)
    if fault == "out of range":
        arrays = make_arrays()
        arrays["neighbours"] = arrays["neighbours"] + N_TRACKS
        version = make_version("bad", CATALOG, arrays)
    if fault == "mismatch":
        version = make_version("bad", make_tracks(61))
    await publish_model(redis, version, activate=False)
    key = "segue:{models}:bad:neighbours"
    if fault == "damaged":
        await redis.setrange(key, 200, b"\x01\x02\x03")
    if fault == "missing":
        await redis.delete(key)
    if fault == "pickle":
        buffer = io.BytesIO()
        np.save(buffer, np.array([{}], dtype=object), allow_pickle=True)
        await redis.set(key, buffer.getvalue())
    await activate_model(redis, "bad")
    reason = "model_mismatch" if fault == "mismatch" else "model_broken"

    async def is_refused() -> bool:
        metrics = (await service.client.get("/metrics")).text
        return f'segue_models_refused_total{{reason="{reason}"}} 1.0' in metrics

    await until(is_refused)
    assert await served_version(service) == "m1"
    await publish_model(redis, make_version("good", CATALOG))
    await until_served(service, "good")


async def test_a_flushed_redis_does_not_take_the_model_away(redis: Redis, service: Service) -> None:
    await redis.flushall()
    await asyncio.sleep(0.2)
    assert await served_version(service) == "m1"


async def test_a_pinned_version_serves_beside_the_latest(
    redis: Redis, valkey: ValkeyServer, tmp_path: Path
) -> None:
    await publish_model(redis, make_version("old", CATALOG))
    await publish_model(redis, make_version("new", CATALOG))
    settings = make_settings(tmp_path)
    settings.experiments.write_bytes(
        EXPERIMENTS.replace(
            b"{name: T1, recommender: contextual}",
            b"{name: T1, recommender: contextual, model_version: old}",
        )
    )
    async with serving(tmp_path, valkey.url, deadline_s=5) as service:
        assert await served_version(service) == "old"
        metrics = (await service.client.get("/metrics")).text
        assert 'segue_model_info{model_version="new"} 1.0' in metrics
