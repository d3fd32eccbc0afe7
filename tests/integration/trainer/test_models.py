"""Versions are listed, activated and rolled back; Redis and the registry agree."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import httpx
import pytest
from redis.asyncio import Redis

from services.trainer.adapters.postgres import open_pool
from services.trainer.adapters.publisher import PublicationOptions, publish_patiently
from services.trainer.adapters.registry import Registry
from services.trainer.adapters.version_copies import VersionCopies
from services.trainer.core.errors import TrainingError
from services.trainer.settings import Settings
from shared.artifacts import fetch_latest_version, fetch_manifests, fetch_model
from shared.catalog import Catalog
from shared.model_files import load_model
from tests.unit.shared.models import make_version

NOWHERE = "postgresql://postgres@127.0.0.1:1/segue"


@pytest.fixture
async def registry(settings: Settings, redis: Redis) -> AsyncIterator[Registry]:
    """Return the registry of an empty database."""
    async with open_pool(settings.postgres_dsn) as pool:
        yield Registry(pool, redis)


async def publish(registry: Registry, *numbers: int, keep: int = 5, checksum: str = "c") -> None:
    for number in numbers:
        model = make_version(number, n_tracks=48, checksum=checksum)
        await registry.publish(model, activate=True, keep=keep)


async def fetch_history(settings: Settings) -> list[str]:
    connection = await asyncpg.connect(settings.postgres_dsn)
    rows = await connection.fetch(
        "SELECT model_version FROM model_activations ORDER BY activation_id"
    )
    await connection.close()
    return [row["model_version"] for row in rows]


async def test_versions_are_listed_newest_first_with_what_serves(
    client: httpx.AsyncClient, registry: Registry
) -> None:
    await publish(registry, 0, 1, 2, keep=1)
    await registry.activate("v02")
    models = (await client.get("/models")).json()
    listed = [(m["model_version"], m["active"], m["available"]) for m in models]
    assert listed == [("v02", True, True), ("v01", False, False), ("v00", False, False)]
    one = (await client.get("/models/v00")).json()
    assert one["metrics"] == {"ndcg_at_10": 0.5}
    assert one["available"] is False
    assert (await client.get("/models/v09")).status_code == 404


async def test_activation_and_rollback_move_the_pointer_and_are_recorded(
    client: httpx.AsyncClient, registry: Registry, redis: Redis, settings: Settings
) -> None:
    await publish(registry, 0, 1, 2)
    assert (await client.post("/models/rollback")).json() == {"active": "v01"}
    assert (await client.post("/models/rollback")).json() == {"active": "v00"}
    assert await fetch_latest_version(redis) == "v00"
    answer = await client.post("/models/rollback")
    assert answer.status_code == 409
    assert (await client.post("/models/v02/activate")).json() == {"active": "v02"}
    assert await fetch_latest_version(redis) == "v02"
    assert await fetch_history(settings) == ["v00", "v01", "v02", "v01", "v00", "v02"]


async def test_an_expired_version_cannot_be_activated(
    client: httpx.AsyncClient, registry: Registry, redis: Redis, settings: Settings
) -> None:
    await publish(registry, 0, 1, keep=1)
    assert (await client.post("/models/v00/activate")).status_code == 404
    assert await fetch_latest_version(redis) == "v01"
    assert await fetch_history(settings) == ["v00", "v01"]


async def test_the_botify_file_of_a_version_is_streamed(
    client: httpx.AsyncClient, registry: Registry, catalog: Catalog
) -> None:
    await publish(registry, 0, checksum=catalog.checksum)
    answer = await client.get("/models/v00/tracks_with_recs")
    lines = [json.loads(line) for line in answer.text.splitlines()]
    neighbours = make_version(0, n_tracks=48).arrays["neighbours"]
    assert [line["track"] for line in lines] == catalog.track_ids.tolist()
    row = neighbours[5]
    assert lines[5]["recommendations"] == catalog.track_ids[row[row >= 0]].tolist()
    assert (await client.get("/models/v09/tracks_with_recs")).status_code == 404


@pytest.mark.usefixtures("catalog")
async def test_neighbours_of_another_catalogue_are_not_named(
    client: httpx.AsyncClient, registry: Registry
) -> None:
    await publish(registry, 0)
    assert (await client.get("/models/v00/tracks_with_recs")).status_code == 409


async def test_a_failure_of_redis_leaves_no_record(settings: Settings) -> None:
    async with open_pool(settings.postgres_dsn) as pool:
        registry = Registry(pool, Redis.from_url("redis://127.0.0.1:1/0"))
        with pytest.raises(Exception, match="Error"):
            await registry.publish(make_version(), activate=True, keep=5)
        assert await pool.fetchval("SELECT count(*) FROM model_versions") == 0
        assert await pool.fetchval("SELECT count(*) FROM model_activations") == 0


async def test_what_cannot_be_published_is_saved_and_nothing_half_done(
    redis: Redis, tmp_path: Path
) -> None:
    options = PublicationOptions(
        activate=True, keep=5, attempts=3, wait_s=0.01, folder=tmp_path / "unpublished"
    )
    model = make_version()
    async with open_pool(NOWHERE) as pool:
        with pytest.raises(TrainingError, match=r"after 3 attempts.*publish .*v00"):
            await publish_patiently(Registry(pool, redis), model, options=options)
    assert await fetch_latest_version(redis) is None
    assert await fetch_manifests(redis) == []
    assert load_model(tmp_path / "unpublished" / "v00").manifest == model.manifest


@pytest.fixture
async def copies(registry: Registry, redis: Redis, tmp_path: Path) -> VersionCopies:
    """Return the copies of what the registry publishes."""
    return VersionCopies(tmp_path / "copies", redis, registry)


async def test_an_empty_redis_gets_its_versions_back_and_the_one_that_served(
    registry: Registry, redis: Redis, copies: VersionCopies, settings: Settings
) -> None:
    await publish(registry, 0, 1, 2)
    await registry.activate("v01")
    await copies.refresh()
    before = [await fetch_model(redis, version) for version in ("v00", "v01", "v02")]
    await redis.flushall()
    await copies.refresh()
    assert await fetch_latest_version(redis) == "v01"
    for model in before:
        again = await fetch_model(redis, model.manifest.model_version)
        assert again.manifest == model.manifest
    assert await fetch_history(settings) == ["v00", "v01", "v02", "v01"]
    assert await registry.roll_back() == "v00"


async def test_a_version_that_is_new_in_an_empty_redis_goes_on_serving(
    registry: Registry, redis: Redis, copies: VersionCopies, tmp_path: Path
) -> None:
    await publish(registry, 0)
    await copies.refresh()
    old = load_model(tmp_path / "copies" / "v00")
    await redis.flushall()
    await publish(registry, 1)
    assert await registry.restore([old]) == "v01"
    assert await fetch_latest_version(redis) == "v01"


async def test_copies_expire_with_their_versions(
    registry: Registry, copies: VersionCopies, tmp_path: Path
) -> None:
    await publish(registry, 0, 1)
    await copies.refresh()
    await publish(registry, 2, keep=1)
    await copies.refresh()
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["v02"]


async def test_a_trainer_restores_what_redis_lost_by_itself(
    client: httpx.AsyncClient, registry: Registry, redis: Redis, settings: Settings
) -> None:
    await publish(registry, 0)
    async with asyncio.timeout(20):
        while not (settings.folder / "versions" / "v00").exists():  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        await redis.flushall()
        while not (await client.get("/models/v00")).json()["active"]:  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_publishing_twice_is_publishing_once(
    registry: Registry, redis: Redis, settings: Settings
) -> None:
    await publish(registry, 0, 0)
    assert await fetch_history(settings) == ["v00"]
    assert len(await fetch_manifests(redis)) == 1


async def test_the_registry_keeps_the_manifest_whole(registry: Registry, redis: Redis) -> None:
    await publish(registry, 0)
    await redis.flushall()
    model = await registry.get_model("v00")
    assert model.manifest == make_version(0, n_tracks=48, checksum="c").manifest
    assert not model.available
