"""The trainer, over HTTP: starts trainings, follows them, tells what became of their versions."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from simulator.adapters.patient_http import Answer, PatientClient, ServiceError

_HEADERS = {b"Content-Type": b"application/json"}
_CONFLICT = 409
_POLL_S = 0.5

T = TypeVar("T")


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What we need of a training; the trainer says more.

    Attributes:
        job_id: Its id.
        status: As the trainer calls it; `succeeded` is good.
        progress: How far it is, and its metrics.
        finished_at: When it ended; None while it goes on.
        model_version: What it published.
        error: Why it published nothing.
    """

    job_id: str
    status: str
    progress: dict[str, Any] = {}
    finished_at: str | None = None
    model_version: str | None = None
    error: str | None = None


class _Model(msgspec.Struct):
    """What we need of a model version."""

    active: bool


class TrainerClient:
    """Speaks to the trainer."""

    def __init__(self, client: PatientClient) -> None:
        """Take an open client."""
        self._client = client

    async def train(self, order: Mapping[str, Any], show: Callable[[Job], None]) -> Job:
        """Have a model trained on the log as it is now.

        A training that is running already saw an older log: it is waited for, and then ours starts.

        Args:
            order: The body of `POST /train`.
            show: Told how far it is.

        Returns:
            The training, succeeded.

        Raises:
            ServiceError: If the trainer stays away or refuses, or the training fails.
        """
        body = msgspec.json.encode(order)
        while True:
            try:
                answer = await self._client.post("/train", body, _HEADERS)
                break
            except ServiceError as error:
                if error.status != _CONFLICT:
                    raise
            for other in _decode(await self._client.get("/train?limit=1"), list[Job]):
                await self._follow(other, show)
            await asyncio.sleep(_POLL_S)
        job = await self._follow(_decode(answer, Job), show)
        if job.model_version is None:
            raise ServiceError(
                f"{self._client.base_url}/train/{job.job_id}: training {job.status}: {job.error}"
            )
        return job

    async def is_active(self, version: str) -> bool:
        """Return whether a version is the one to serve.

        Raises:
            ServiceError: If the trainer stays away or does not know it.
        """
        return _decode(await self._client.get(f"/models/{version}"), _Model).active

    async def _follow(self, job: Job, show: Callable[[Job], None]) -> Job:
        while job.finished_at is None:
            show(job)
            await asyncio.sleep(_POLL_S)
            job = _decode(await self._client.get(f"/train/{job.job_id}"), Job)
        return job


def _decode(answer: Answer, kind: type[T]) -> T:
    try:
        return msgspec.json.decode(answer.content, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ServiceError(
            f"{answer.url}: not an answer of a trainer ({error}): {answer.excerpt}"
        ) from error
