"""Between two days: the log, a training, its version serving; against services on a socket."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from simulator.adapters.patient_http import ServiceError
from simulator.days import Retraining, open_laboratory, retrain
from tests.integration.simulator.services import FakeLaboratory


@pytest.fixture
async def services() -> AsyncIterator[tuple[FakeLaboratory, str]]:
    fake = FakeLaboratory()
    async with fake.make_server() as server:
        yield fake, str(server.make_url("/"))


async def run(
    url: str, said: list[str], *, timeout_s: float = 5.0, order: dict[str, Any] | None = None
) -> Retraining:
    async with open_laboratory(
        recommender=url, logger=url, trainer=url, timeout_s=2.0, patience_s=1.0, say=said.append
    ) as laboratory:
        return await retrain(laboratory, order=order or {}, timeout_s=timeout_s, say=said.append)


async def test_the_log_comes_first_and_the_new_version_serves_at_the_end(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.lags = [7, 2]
    said: list[str] = []
    trained = await run(url, said, order={"recipe": "session"})
    assert fake.done == [
        *("lag 7", "lag 2", "lag 0", "train", "serves m-0", "serves m-0", "serves m-1")
    ]
    assert fake.orders == [{"recipe": "session"}]
    assert (trained.model_version, trained.is_serving) == ("m-1", True)
    assert said == ["every event is stored; training", "training: fitting"]
    assert str(trained).startswith("model m-1: trained in ")


async def test_a_running_training_is_waited_for_since_it_saw_an_older_log(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.busy = 2
    await run(url, [])
    assert fake.done.count("train") == 1


async def test_a_version_that_is_not_promoted_is_not_waited_for(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.promotes = False
    trained = await run(url, [])
    assert not trained.is_serving
    assert "not promoted" in str(trained)
    assert "serves m-1" not in fake.done


async def test_a_training_that_fails_is_an_error_with_its_reason(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.outcome = {"status": "failed", "error": "no playbacks"}
    with pytest.raises(ServiceError, match="/train/ours: training failed: no playbacks"):
        await run(url, [])


async def test_a_logger_that_stays_behind_is_an_error(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.lags = [3] * 100
    with pytest.raises(ServiceError, match=r"/lag: 3 events are not stored after 0\.1 s"):
        await run(url, [], timeout_s=0.1)
    assert "train" not in fake.done


async def test_a_recommender_that_does_not_follow_is_an_error(
    services: tuple[FakeLaboratory, str],
) -> None:
    fake, url = services
    fake.follows = 100
    with pytest.raises(ServiceError, match=r"/metrics: serves m-0, not m-1, after 0\.3 s"):
        await run(url, [], timeout_s=0.3)
