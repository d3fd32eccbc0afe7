"""Publication to a real server: whole versions, an atomic pointer, bounded memory."""

import asyncio

import pytest
from redis.asyncio import Redis

from shared.artifacts import (
    ArtifactError,
    activate_model,
    fetch_latest_version,
    fetch_manifests,
    fetch_model,
    publish_model,
)
from shared.catalog import Track, make_catalog
from shared.catalog_store import CATALOG_KEY, fetch_catalog, publish_catalog
from tests.unit.shared.models import make_version


async def test_a_published_model_is_fetched_to_the_bit(redis: Redis) -> None:
    model = make_version()
    await publish_model(redis, model)
    assert await fetch_latest_version(redis) == "v00"
    fetched = await fetch_model(redis, "v00")
    assert fetched.manifest == model.manifest
    for name, array in model.arrays.items():
        assert fetched.arrays[name].tobytes() == array.tobytes()


async def test_only_the_arrays_asked_for_are_fetched(redis: Redis) -> None:
    await publish_model(redis, make_version())
    fetched = await fetch_model(redis, "v00", only=["neighbours", "user_tracks"])
    assert set(fetched.arrays) == {"neighbours"}


async def test_a_version_can_wait_before_it_serves(redis: Redis) -> None:
    await publish_model(redis, make_version(0))
    await publish_model(redis, make_version(1), activate=False)
    assert await fetch_latest_version(redis) == "v00"
    await activate_model(redis, "v01")
    assert await fetch_latest_version(redis) == "v01"


async def test_old_versions_expire_with_all_their_keys_but_never_the_active(redis: Redis) -> None:
    await publish_model(redis, make_version(0))
    for number in range(1, 6):
        await publish_model(redis, make_version(number), activate=False, keep=2)
    versions = [manifest.model_version for manifest in await fetch_manifests(redis)]
    assert versions == ["v05", "v04", "v00"]
    assert [key async for key in redis.scan_iter("*v03*")] == []
    with pytest.raises(ArtifactError, match="v03 is not in Redis"):
        await fetch_model(redis, "v03")


async def test_the_pointer_never_moves_to_what_is_not_there(redis: Redis) -> None:
    await publish_model(redis, make_version(0))
    with pytest.raises(ArtifactError, match="v09"):
        await activate_model(redis, "v09")
    assert await fetch_latest_version(redis) == "v00"


async def test_damage_is_found(redis: Redis) -> None:
    await publish_model(redis, make_version(0))
    await redis.append("segue:{models}:v00:neighbours", b"x")
    with pytest.raises(ArtifactError, match="neighbours is damaged"):
        await fetch_model(redis, "v00")
    await redis.delete("segue:{models}:v00:neighbours")
    with pytest.raises(ArtifactError, match="neighbours is missing"):
        await fetch_model(redis, "v00")


async def test_a_reader_that_sees_the_pointer_sees_the_model(redis: Redis) -> None:
    await publish_model(redis, make_version(0), keep=2)
    done = False

    async def read() -> int:
        n_read = 0
        while not done:
            version = await fetch_latest_version(redis)
            assert version is not None
            await fetch_model(redis, version)
            n_read += 1
        return n_read

    reader = asyncio.create_task(read())
    for number in range(1, 30):
        await publish_model(redis, make_version(number), keep=20)
    done = True
    assert await reader > 0


async def test_no_models_before_the_first(redis: Redis) -> None:
    assert await fetch_latest_version(redis) is None
    assert await fetch_manifests(redis) == []


async def test_the_catalogue_comes_back_the_same(redis: Redis) -> None:
    catalog = make_catalog([Track(7, "a", "t"), Track(3, "b", "ü", "jazz")])
    await publish_catalog(redis, catalog)
    assert (await fetch_catalog(redis)).checksum == catalog.checksum


async def test_an_absent_or_damaged_catalogue_is_an_error(redis: Redis) -> None:
    with pytest.raises(ArtifactError, match="no catalogue"):
        await fetch_catalog(redis)
    await redis.set(CATALOG_KEY, b"nonsense")
    with pytest.raises(ArtifactError, match="line 1"):
        await fetch_catalog(redis)
