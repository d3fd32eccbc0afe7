"""Between two days of a live run: every event stored, a model trained, its version serving."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from simulator.adapters.logger_client import fetch_lag
from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.adapters.recommender_client import fetch_serving_version
from simulator.adapters.trainer_client import Job, TrainerClient

_POLL_S = 0.2
_N_CONNECTIONS = 2

Say = Callable[[str], None]


class Laboratory(msgspec.Struct, frozen=True):
    """Open clients of the services that a retraining needs."""

    recommender: PatientClient
    logger: PatientClient
    trainer: PatientClient


class Retraining(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a retraining.

    Attributes:
        model_version: What was published.
        is_serving: Whether the recommender serves it; False if the trainer did not promote it.
        store_s, train_s, serve_s: What each of the three waits took.
        job: The training, with its progress and metrics.
    """

    model_version: str
    is_serving: bool
    store_s: float
    train_s: float
    serve_s: float
    job: Job

    def __str__(self) -> str:
        how = f"trained in {self.train_s:.1f} s"
        if self.is_serving:
            return f"model {self.model_version}: {how}, serving {self.serve_s:.1f} s later"
        return f"model {self.model_version}: {how}, not promoted: the one before goes on serving"


@asynccontextmanager
async def open_laboratory(
    *,
    recommender: str,
    logger: str,
    trainer: str,
    timeout_s: float,
    patience_s: float,
    say: Say,
    headers: Mapping[str, str] | None = None,
) -> AsyncIterator[Laboratory]:
    """Open clients.

    Args:
        recommender: Its URL, as of the others.
        logger: Stores what the recommender answers.
        trainer: Trains on what the logger stored.
        timeout_s: Of one request.
        patience_s: How long a service may be away.
        say: Told when one is.
        headers: That let the trainer be told what to do.
    """
    clients = [
        PatientClient(
            url,
            timeout_s=timeout_s,
            patience_s=patience_s,
            max_connections=_N_CONNECTIONS,
            notify=say,
            headers=headers if url == trainer else None,
        )
        for url in (recommender, logger, trainer)
    ]
    async with clients[0], clients[1], clients[2]:
        yield Laboratory(*clients)


async def retrain(
    laboratory: Laboratory, *, order: Mapping[str, Any], timeout_s: float, say: Say
) -> Retraining:
    """Wait for the log, train on it, and wait until the new version serves.

    Args:
        laboratory: The services.
        order: The body of `POST /train`.
        timeout_s: How long the logger may be behind, and the recommender on an older version.
        say: Told what is going on, each step once.

    Raises:
        ServiceError: If a service fails or takes too long.
    """
    started = time.monotonic()
    await wait_until_stored(laboratory.logger, timeout_s=timeout_s)
    stored = time.monotonic()
    say("every event is stored; training")
    trainer = TrainerClient(laboratory.trainer)
    job = await trainer.train(order, _Stages(say))
    trained = time.monotonic()
    version = str(job.model_version)
    is_active = await trainer.is_active(version)
    if is_active:
        await wait_until_serving(laboratory.recommender, version, timeout_s=timeout_s)
    return Retraining(
        model_version=version,
        is_serving=is_active,
        store_s=stored - started,
        train_s=trained - stored,
        serve_s=time.monotonic() - trained,
        job=job,
    )


async def wait_until_stored(logger: PatientClient, *, timeout_s: float) -> None:
    """Wait until a row holds every event.

    Raises:
        ServiceError: If the logger is away, or behind for too long.
    """
    deadline = time.monotonic() + timeout_s
    while (lag := await fetch_lag(logger)) > 0:
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{logger.base_url}/lag: {lag} events are not stored after {timeout_s:g} s"
            )
        await asyncio.sleep(_POLL_S)


async def wait_until_serving(recommender: PatientClient, version: str, *, timeout_s: float) -> None:
    """Wait until the recommender serves a version.

    Raises:
        ServiceError: If it is away, or serves another for too long.
    """
    deadline = time.monotonic() + timeout_s
    while (serving := await fetch_serving_version(recommender)) != version:
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{recommender.base_url}/metrics: serves {serving or 'no model'}, "
                f"not {version}, after {timeout_s:g} s"
            )
        await asyncio.sleep(_POLL_S)


class _Stages:
    """Says each stage of a training when it begins."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._latest: object = None

    def __call__(self, job: Job) -> None:
        stage = job.progress.get("stage")
        if stage != self._latest:
            self._latest = stage
            self._say(f"training: {stage}")
