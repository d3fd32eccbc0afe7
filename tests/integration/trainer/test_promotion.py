"""A version serves if it is not worse than the one that does, on the same later sessions."""

import httpx
import numpy as np
import pytest
from redis.asyncio import Redis

from deploy.local.servers import PostgresServer
from shared.artifacts import fetch_latest_version, fetch_model
from shared.catalog import Catalog
from tests.integration.trainer.stack import store_playbacks, train
from tests.unit.trainer.logs import make_block_playbacks

GOOD = {"epochs": 20, "recipe": "track_only", "dim": 8}
BAD = {"epochs": 1, "recipe": "track_only", "dim": 1, "learning_rate": 0.00001}


@pytest.mark.usefixtures("playbacks")
async def test_a_worse_version_is_published_and_does_not_serve(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    first = await train(client, **GOOD)
    worse = await train(client, **BAD)
    assert worse["status"] == "succeeded", worse
    assert await fetch_latest_version(redis) == first["model_version"]
    assert worse["promotion"]["is_promoted"] is False
    assert "may be worse: squared error" in worse["promotion"]["reason"]
    comparison = worse["comparison"]
    assert comparison["model_version"] == first["model_version"]
    assert comparison["serving"]["held_out_mse"] < comparison["candidate"]["held_out_mse"]
    assert comparison["n_sessions"] == 20
    # The judged sessions were held out from the version that serves, too.
    assert comparison["seen_share"] == 0
    manifest = (await fetch_model(redis, worse["model_version"])).manifest
    assert manifest.metrics["serving_held_out_mse"] == comparison["serving"]["held_out_mse"]
    assert manifest.metrics["mse_difference_upper"] == comparison["difference_upper"]


@pytest.mark.usefixtures("playbacks")
async def test_a_better_version_serves_whatever_its_recipe(
    client: httpx.AsyncClient, redis: Redis
) -> None:
    await train(client, **BAD)
    better = await train(client, **GOOD)
    assert better["promotion"]["is_promoted"] is True
    assert "not worse" in better["promotion"]["reason"]
    assert await fetch_latest_version(redis) == better["model_version"]
    session = await train(client, recipe="session")
    assert session["comparison"]["model_version"] == better["model_version"]


@pytest.mark.usefixtures("playbacks")
async def test_a_version_that_learnt_from_the_judged_sessions_is_flagged(
    client: httpx.AsyncClient, database: PostgresServer, catalog: Catalog
) -> None:
    await train(client, recipe="session")  # takes in at last what judged it
    again = await train(client, recipe="session", seed=1)
    assert again["comparison"]["seen_share"] == 1
    assert "may have learnt from 100% of those sessions" in again["promotion"]["reason"]
    later = make_block_playbacks(catalog, n_sessions=400, seed=1)
    later["at"] += 400 * 60_000_000
    await store_playbacks(database.dsn, later)
    fresh = await train(client, recipe="session", seed=1)
    assert fresh["comparison"]["seen_share"] == 0


@pytest.mark.usefixtures("playbacks")
async def test_who_asks_decides(client: httpx.AsyncClient, redis: Redis) -> None:
    never = await train(client, promote="never")
    assert never["promotion"] == {"is_promoted": False, "reason": "promote is never"}
    assert await fetch_latest_version(redis) is None
    await train(client, **GOOD)
    always = await train(client, **BAD, promote="always")
    assert always["promotion"] == {"is_promoted": True, "reason": "promote is always"}
    assert always["comparison"]["difference"] > 0
    assert await fetch_latest_version(redis) == always["model_version"]


@pytest.mark.usefixtures("playbacks")
async def test_what_cannot_serve_is_replaced(
    client: httpx.AsyncClient, redis: Redis, catalog: Catalog
) -> None:
    await redis.set("segue:{models}:latest", "expired")
    job = await train(client, **BAD)
    assert job["promotion"]["reason"] == "model version expired is not in Redis"
    assert await fetch_latest_version(redis) == job["model_version"]


@pytest.mark.usefixtures("playbacks")
async def test_a_warm_start_goes_on_from_what_serves(client: httpx.AsyncClient) -> None:
    cold = await train(client, warm_start=True, **GOOD)
    assert cold["progress"]["warm_start"] == "cold: no version serves yet"
    warm = await train(client, warm_start=True, **GOOD)
    assert warm["progress"]["warm_start"] == f"from {cold['model_version']}"
    first, again = (job["progress"]["losses"][0]["train"] for job in (cold, warm))
    assert again < 0.5 * first
    other = await train(client, warm_start=True, recipe="session")
    serving = warm["model_version"] if warm["promotion"]["is_promoted"] else cold["model_version"]
    assert other["progress"]["warm_start"] == f"cold: {serving} is of the recipe track_only"
    session = await train(client, recipe="session", promote="always")
    warm = await train(client, recipe="session", warm_start=True)
    assert warm["progress"]["warm_start"] == f"from {session['model_version']}"
    assert len(warm["progress"]["losses"]) < len(session["progress"]["losses"])


@pytest.mark.usefixtures("playbacks")
async def test_metrics_of_a_version_are_finite(client: httpx.AsyncClient) -> None:
    job = await train(client)
    names = {"held_out_mse", "held_out_log_loss", "calibration_error", "ndcg_at_10", "recall_at_k"}
    names |= {"catalog_coverage", "novelty_bits", "artist_diversity", "list_diversity"}
    assert names <= job["metrics"].keys()
    assert np.isfinite(list(job["metrics"].values())).all()
