"""What running Segue asks of its services: a training, and that everything has arrived."""

import contextlib
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, cast

import httpx

from deploy.steps import Show, StepError

POLL_S = 0.5
REQUEST_TIMEOUT_S = 30.0

_MODEL = re.compile(r'^segue_model_info\{model_version="([^"]+)"\} 1', re.MULTILINE)
_FALLBACKS = re.compile(
    r'^segue_fallbacks_total\{[^}]*reason="(\w+):[^"]*"[^}]*\} (\S+)$', re.MULTILINE
)
_SPOOLED = re.compile(r"^segue_spooled_commits (\S+)$", re.MULTILINE)


class Trained(NamedTuple):
    """A model version, whether it serves, and why or why not."""

    version: str
    is_promoted: bool
    reason: str


@contextlib.contextmanager
def _telling_who_is_away() -> Iterator[None]:
    """Turn what keeps a service from answering into an error that names its address."""
    try:
        yield
    except httpx.RequestError as error:
        raise StepError(f"{error.request.url}: {str(error) or repr(error)}") from error


@_telling_who_is_away()
def train(
    trainer_url: str,
    *,
    timeout_s: float,
    show: Show,
    order: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    poll_s: float = POLL_S,
) -> Trained:
    """Ask the trainer for a model version, and follow the job to its end.

    Args:
        trainer_url: The service.
        timeout_s: For the training.
        show: Told how far it is.
        order: Body of the request.
        headers: That let us tell it what to do.
        poll_s: Between two looks.

    Raises:
        StepError: If there is no trainer, or the job is refused, fails, or takes too long.
    """
    with httpx.Client(base_url=trainer_url, headers=headers, timeout=REQUEST_TIMEOUT_S) as client:
        answer = client.post("/train", json=order) if order else client.post("/train")
        job = _read(answer)
        deadline = time.monotonic() + timeout_s
        while job["status"] == "running":
            if time.monotonic() > deadline:
                raise StepError(f"training is not over after {timeout_s:g} s")
            show(_describe_progress(job["progress"]))
            time.sleep(poll_s)
            job = _read(client.get(answer.headers["Location"]))
    if job["status"] != "succeeded":
        raise StepError(f"training {job['status']}: {job['error']}")
    promotion = job["promotion"]
    return Trained(job["model_version"], promotion["is_promoted"], promotion["reason"])


@_telling_who_is_away()
def fetch_metrics(trainer_url: str, version: str) -> dict[str, float]:
    """Fetch the metrics of a model version's evaluation."""
    answer = httpx.get(f"{trainer_url}/models/{version}", timeout=REQUEST_TIMEOUT_S)
    return cast("dict[str, float]", _read(answer)["metrics"])


@_telling_who_is_away()
def wait_for_logger(
    logger_url: str, *, timeout_s: float, show: Show, poll_s: float = POLL_S
) -> int:
    """Wait until the logger has stored all that was answered; return its dead letters.

    Raises:
        StepError: If it takes too long.
    """

    def count_behind() -> tuple[int, int]:
        lag = _read(httpx.get(f"{logger_url}/lag", timeout=REQUEST_TIMEOUT_S))
        return lag["undelivered"] + lag["pending"], lag["dead_letters"]

    deadline = time.monotonic() + timeout_s
    while True:
        behind, dead_letters = count_behind()
        if behind == 0:
            return dead_letters
        if time.monotonic() > deadline:
            raise StepError(f"{behind} events are not stored after {timeout_s:g} s")
        show(f"{behind} to go")
        time.sleep(poll_s)


def wait_for_model(recommender_url: str, version: str, *, timeout_s: float) -> None:
    """Wait until the recommender serves a model version.

    Raises:
        StepError: If it takes too long.
    """
    deadline = time.monotonic() + timeout_s
    while (found := _MODEL.search(_fetch_text(recommender_url))) is None or found[1] != version:
        if time.monotonic() > deadline:
            serves = f"serves {found[1]}" if found else "serves no model"
            raise StepError(f"the recommender {serves}, not {version}, after {timeout_s:g} s")
        time.sleep(0.1)


def wait_for_spool(recommender_url: str, *, timeout_s: float, poll_s: float = POLL_S) -> None:
    """Wait until the recommender keeps no step back that Redis was too slow to take.

    Raises:
        StepError: If it takes too long.
    """
    deadline = time.monotonic() + timeout_s
    while n_spooled := sum(map(float, _SPOOLED.findall(_fetch_text(recommender_url)))):
        if time.monotonic() > deadline:
            raise StepError(f"{n_spooled:g} steps are still spooled after {timeout_s:g} s")
        time.sleep(poll_s)


def count_fallbacks(recommender_url: str, recommender: str) -> int:
    """Count how often a recommender could not answer, since the service started."""
    found = _FALLBACKS.findall(_fetch_text(recommender_url))
    return sum(int(float(number)) for name, number in found if name == recommender)


@_telling_who_is_away()
def _fetch_text(recommender_url: str) -> str:
    answer = httpx.get(f"{recommender_url}/metrics", timeout=REQUEST_TIMEOUT_S)
    if answer.is_error:
        raise StepError(f"{answer.request.url} answers {answer.status_code}")
    return answer.text


def _describe_progress(progress: Mapping[str, Any]) -> str:
    epoch = f", epoch {progress['epoch']}" if "epoch" in progress else ""
    return f"{progress.get('stage', 'waiting')}{epoch}"


def _read(response: httpx.Response) -> dict[str, Any]:
    if response.is_error:
        raise StepError(f"{response.request.url} answers {response.status_code}: {response.text}")
    try:
        return cast("dict[str, Any]", response.json())
    except ValueError as error:
        raise StepError(f"{response.request.url} answers with no JSON") from error
