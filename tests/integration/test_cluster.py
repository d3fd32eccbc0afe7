"""All services on one real Redis Cluster of three nodes."""

import asyncio
from pathlib import Path

import pytest

from deploy.local.servers import PostgresServer
from services.dashboard.app import create_app as create_dashboard
from services.dashboard.settings import Settings as DashboardSettings
from services.recommender.adapters.stored_state import make_shards
from services.trainer.app import create_app as create_trainer
from services.trainer.settings import Settings as TrainerSettings
from shared.artifacts import fetch_latest_version, fetch_manifests, publish_model
from shared.redis_client import create_redis
from tests.cluster import N_SHARDS, Cluster
from tests.integration.circle import (
    N_TRACKS,
    USERS,
    assert_every_event_is_one_row,
    calling,
    fetch_rows,
    logging_to,
    play,
)
from tests.integration.recommender.conftest import serving, until
from tests.integration.trainer.stack import train
from tests.unit.recommender.factories import make_settings, make_tracks, make_version


async def test_the_circle_turns_on_a_cluster(
    cluster: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    trainer_settings = TrainerSettings(
        redis_url=cluster.url,
        postgres_dsn=database.dsn,
        folder=tmp_path / "trainer",
        map_tracks=0,
        keep_versions=1,
    )
    async with (
        serving(tmp_path, cluster.url, deadline_s=5) as service,
        calling(logging_to(database, cluster.url)) as logger,
        calling(create_trainer(trainer_settings)) as trainer,
    ):
        await asyncio.gather(*(play(service, user) for user in USERS))
        await assert_every_event_is_one_row(database)

        async def is_drained() -> bool:
            lag = (await logger.get("/lag")).json()
            return (lag["undelivered"], lag["pending"], lag["dead_letters"]) == (0, 0, 0)

        await until(is_drained)
        assert (await logger.get("/health/ready")).status_code == 200
        async with create_redis(cluster.url) as redis:
            await publish_model(redis, make_version("old", make_tracks()))
            job = await train(trainer, promote="always")
            assert job["status"] == "succeeded", job
            assert await fetch_latest_version(redis) == job["model_version"]
            kept = [manifest.model_version for manifest in await fetch_manifests(redis)]
            assert kept == [job["model_version"]]  # the old one has expired

        async def serves_it() -> bool:
            page = (await service.client.get("/metrics")).text
            return f'model_version="{job["model_version"]}"' in page

        await until(serves_it)
        assert (await trainer.get("/health/ready")).status_code == 200
    sizes = []
    for node in cluster.nodes:
        with node.open() as at_node:
            sizes.append(at_node.dbsize())
    assert sum(size > 0 for size in sizes) > 1  # other tests move slots between them


async def test_a_node_that_dies_and_comes_back_loses_and_repeats_nothing(
    cluster: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    async def trouble() -> None:
        for node in cluster.nodes[1:]:
            await asyncio.sleep(0.1)
            node.kill()
            await asyncio.sleep(0.3)
            await asyncio.to_thread(node.start)
            await asyncio.to_thread(cluster.wait_until_whole)

    async with (
        serving(tmp_path, cluster.url, deadline_s=1) as service,
        calling(logging_to(database, cluster.url)),
    ):
        await asyncio.gather(trouble(), *(play(service, user) for user in USERS))
        await assert_every_event_is_one_row(database)


async def test_a_dead_node_keeps_no_other_listeners_events_from_their_rows(
    cluster: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    dead = cluster.nodes[1]
    streams = [stream for _, stream in make_shards(N_SHARDS)]
    others = [u for u in USERS if cluster.owner_of(streams[u % N_SHARDS]) is not dead]
    async with (
        serving(tmp_path, cluster.url, deadline_s=2) as service,
        calling(logging_to(database, cluster.url)) as logger,
    ):
        dead.kill()
        await asyncio.gather(*(play(service, user) for user in others))

        async def are_stored() -> bool:
            return len(await fetch_rows(database)) == len(others) * N_TRACKS

        await until(are_stored, timeout_s=30)
        health = (await logger.get("/health/ready")).json()
        assert health["parts"]["redis"].startswith("down: ")
    assert 0 < len(others) < len(USERS)


async def test_the_streams_slots_move_under_a_logger(
    cluster: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    def move_all() -> None:
        for _, stream in make_shards(N_SHARDS):
            source, target = cluster.begin_to_move(stream)
            cluster.end_move(stream, source, target)

    async with (
        serving(tmp_path, cluster.url, deadline_s=5) as service,
        calling(logging_to(database, cluster.url)),
    ):
        await asyncio.gather(asyncio.to_thread(move_all), *(play(service, user) for user in USERS))
        await assert_every_event_is_one_row(database)


async def test_the_dashboard_reads_the_catalogue_of_a_cluster(
    cluster: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    settings = DashboardSettings(
        redis_url=cluster.url,
        postgres_dsn=database.dsn,
        experiments=make_settings(tmp_path).experiments,
    )
    async with serving(tmp_path, cluster.url), calling(create_dashboard(settings)) as client:
        page = await client.get("/listen", params={"q": "title 17"})
    assert page.status_code == 200
    assert "title 17" in page.text
    assert "artist 7" in page.text


@pytest.mark.parametrize("n_shards", [1, N_SHARDS])
async def test_another_number_of_shards_is_another_set_of_keys(
    n_shards: int, cluster: Cluster, tmp_path: Path
) -> None:
    url = cluster.url.replace(f"shards={N_SHARDS}", f"shards={n_shards}")
    async with serving(tmp_path, url, deadline_s=5) as service:
        await asyncio.gather(*(service.next(user) for user in USERS))
    lengths = []
    for _, stream in make_shards(n_shards):
        with cluster.owner_of(stream).open() as at_owner:
            lengths.append(at_owner.xlen(stream))
    assert sum(lengths) == len(USERS)
    assert min(lengths) > 0
