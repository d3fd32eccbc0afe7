"""The demonstration's talk with the trainer and the logger, each a stand-in with a script."""

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import pytest

from deploy.demo import StepError, train, wait_for_logger
from deploy.settings import DemoSettings

LOCATION = "/train/7"


class Scripted(http.server.BaseHTTPRequestHandler):
    """Gives the answers of its script, one per request; the last one again and again."""

    script: ClassVar[list[tuple[int, dict[str, Any]]]] = []
    requests: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Take the next answer."""
        self.requests.append(f"{self.command} {self.path}")
        status, body = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.send_response(status)
        self.send_header("Location", LOCATION)
        self.end_headers()
        self.wfile.write(json.dumps(body).encode())

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def settings(tmp_path: Path) -> Iterator[DemoSettings]:
    Scripted.script.clear()
    Scripted.requests.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        url = f"http://127.0.0.1:{server.server_port}"
        yield DemoSettings(trainer_url=url, logger_url=url, training_timeout_s=2, lag_timeout_s=2)
        server.shutdown()
        thread.join()


def job(status: str, **fields: Any) -> dict[str, Any]:
    return {"status": status, "progress": {}, "model_version": None, "error": None, **fields}


def lag(undelivered: int, pending: int, dead_letters: int = 0) -> dict[str, Any]:
    return {"undelivered": undelivered, "pending": pending, "dead_letters": dead_letters}


def test_a_training_is_followed_to_its_model_version(settings: DemoSettings) -> None:
    shown: list[str] = []
    Scripted.script += [
        (202, job("running")),
        (200, job("running", progress={"stage": "fit", "epoch": 3})),
        (200, job("succeeded", model_version="m1")),
    ]
    assert train(settings, shown.append) == "model version m1"
    assert shown == ["waiting", "fit, epoch 3"]
    assert Scripted.requests == ["POST /train", f"GET {LOCATION}", f"GET {LOCATION}"]


def test_a_training_that_fails_says_why(settings: DemoSettings) -> None:
    Scripted.script += [(202, job("running")), (200, job("failed", error="no playbacks"))]
    with pytest.raises(StepError, match="training failed: no playbacks"):
        train(settings, lambda _: None)


def test_a_training_that_is_refused_says_why(settings: DemoSettings) -> None:
    Scripted.script += [(409, {"detail": "a training is running"})]
    with pytest.raises(StepError, match=r"/train answers 409: .*a training is running"):
        train(settings, lambda _: None)


def test_a_training_without_end_is_given_up(settings: DemoSettings) -> None:
    Scripted.script += [(202, job("running"))]
    with pytest.raises(StepError, match="not over after 2 s"):
        train(settings, lambda _: None)


def test_the_logger_is_waited_for_until_nothing_is_left(settings: DemoSettings) -> None:
    shown: list[str] = []
    Scripted.script += [(200, lag(5, 2)), (200, lag(0, 1)), (200, lag(0, 0, dead_letters=3))]
    assert wait_for_logger(settings, shown.append) == "3 dead letters"
    assert shown == ["7 to go", "1 to go"]


def test_a_logger_that_stands_still_is_given_up(settings: DemoSettings) -> None:
    Scripted.script += [(200, lag(5, 2))]
    with pytest.raises(StepError, match="7 events are not stored after 2 s"):
        wait_for_logger(settings, lambda _: None)
