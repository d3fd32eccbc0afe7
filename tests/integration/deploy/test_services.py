"""What running Segue asks of its services, each a stand-in with a script."""

import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from deploy.retrain import main as retrain
from deploy.services import (
    Trained,
    count_fallbacks,
    fetch_metrics,
    train,
    wait_for_logger,
    wait_for_model,
    wait_for_spool,
)
from deploy.steps import StepError

LOCATION = "/train/7"
POLL_S = 0.01


class Scripted(http.server.BaseHTTPRequestHandler):
    """Gives the answers of its script, one per request; the last one again and again."""

    script: ClassVar[list[tuple[int, dict[str, Any] | str]]] = []
    requests: ClassVar[list[str]] = []
    tokens: ClassVar[list[str | None]] = []

    def do_GET(self) -> None:
        self.answer()

    def do_POST(self) -> None:
        self.answer()

    def answer(self) -> None:
        """Take the next answer."""
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.requests.append(f"{self.command} {self.path} {body.decode()}".rstrip())
        self.tokens.append(self.headers.get("Authorization"))
        status, content = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        self.send_response(status)
        self.send_header("Location", LOCATION)
        self.end_headers()
        self.wfile.write((content if isinstance(content, str) else json.dumps(content)).encode())

    def log_message(self, *_: object) -> None:
        """Be quiet."""


@pytest.fixture
def url() -> Iterator[str]:
    Scripted.script.clear()
    Scripted.requests.clear()
    Scripted.tokens.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Scripted) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def job(status: str, **fields: Any) -> dict[str, Any]:
    return {"status": status, "progress": {}, "model_version": None, "error": None, **fields}


def lag(undelivered: int, pending: int, dead_letters: int = 0) -> dict[str, Any]:
    return {"undelivered": undelivered, "pending": pending, "dead_letters": dead_letters}


def succeeded(version: str, *, is_promoted: bool = True) -> dict[str, Any]:
    promotion = {"is_promoted": is_promoted, "reason": "so it is"}
    return job("succeeded", model_version=version, promotion=promotion)


def ask_for_training(url: str, *, timeout_s: float = 10, **order: Any) -> tuple[Trained, list[str]]:
    shown: list[str] = []
    trained = train(url, timeout_s=timeout_s, show=shown.append, order=order, poll_s=POLL_S)
    return trained, shown


def wait(url: str, *, timeout_s: float = 10) -> tuple[int, list[str]]:
    shown: list[str] = []
    return wait_for_logger(url, timeout_s=timeout_s, show=shown.append, poll_s=POLL_S), shown


@pytest.mark.parametrize("is_promoted", [True, False])
def test_a_training_is_followed_to_its_model_version(url: str, is_promoted: bool) -> None:
    Scripted.script += [
        (202, job("running")),
        (200, job("running", progress={"stage": "fit", "epoch": 3})),
        (200, succeeded("m1", is_promoted=is_promoted)),
    ]
    trained = Trained("m1", is_promoted, "so it is")
    assert ask_for_training(url) == (trained, ["waiting", "fit, epoch 3"])
    assert Scripted.requests == ["POST /train", f"GET {LOCATION}", f"GET {LOCATION}"]


def test_a_training_is_ordered_as_it_should_be(url: str) -> None:
    Scripted.script += [(202, succeeded("m1"))]
    ask_for_training(url, recipe="session")
    assert Scripted.requests == ['POST /train {"recipe":"session"}']


def test_a_training_that_fails_says_why(url: str) -> None:
    Scripted.script += [(202, job("running")), (200, job("failed", error="no playbacks"))]
    with pytest.raises(StepError, match="training failed: no playbacks"):
        ask_for_training(url)


def test_a_training_that_is_refused_says_why(url: str) -> None:
    Scripted.script += [(409, {"detail": "a training is running"})]
    with pytest.raises(StepError, match=r"/train answers 409: .*a training is running"):
        ask_for_training(url)


def test_a_training_without_end_is_given_up(url: str) -> None:
    Scripted.script += [(202, job("running"))]
    with pytest.raises(StepError, match=r"not over after 0\.1 s"):
        ask_for_training(url, timeout_s=0.1)


def test_a_nightly_training_tells_its_stages_and_what_serves(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_RETRAIN_TRAINER_URL", url)
    monkeypatch.setenv("SEGUE_RETRAIN_ORDER", '{"recipe": "track_only"}')
    Scripted.script += [(202, job("running")), (200, succeeded("m1", is_promoted=False))]
    assert retrain() == 0
    assert Scripted.requests[0] == 'POST /train {"recipe":"track_only"}'
    assert capsys.readouterr().out == "waiting\nmodel version m1, does not serve: so it is\n"


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ((202, job("failed", error="no playbacks")), "training failed: no playbacks"),
        ((409, {"detail": "a training is running"}), "a training is running"),
    ],
)
def test_a_nightly_training_that_fails_fails_its_job(
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: tuple[int, dict[str, Any]],
    told: str,
) -> None:
    monkeypatch.setenv("SEGUE_RETRAIN_TRAINER_URL", url)
    Scripted.script += [answer]
    assert retrain() == 1
    assert told in capsys.readouterr().err


def test_a_nightly_training_without_a_trainer_fails_its_job(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_RETRAIN_TRAINER_URL", "http://127.0.0.1:1")
    assert retrain() == 1
    assert capsys.readouterr().err == "http://127.0.0.1:1/train: [Errno 111] Connection refused\n"
    monkeypatch.setenv("SEGUE_RETRAIN_TRAINER_URL", "trainer:5002")
    assert retrain() == 1
    assert "trainer:5002/train: Request URL" in capsys.readouterr().err
    monkeypatch.setenv("SEGUE_RETRAIN_TIMEOUT_S", "never")
    assert retrain() == 2
    assert capsys.readouterr().err.startswith("setting timeout_s:")
    monkeypatch.delenv("SEGUE_RETRAIN_TIMEOUT_S")
    monkeypatch.setenv("SEGUE_RETRAIN_ORDER", "session")
    assert retrain() == 2
    assert capsys.readouterr().err.startswith("setting order:")


def test_a_nightly_training_takes_no_arguments(
    url: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SEGUE_RETRAIN_TRAINER_URL", url)
    with pytest.raises(SystemExit) as caught:
        retrain(["--help"])
    assert caught.value.code == 0
    assert "SEGUE_RETRAIN_*" in capsys.readouterr().out
    assert not Scripted.requests


def test_whoever_answers_something_else_is_named(url: str) -> None:
    Scripted.script += [(200, "<html>")]
    with pytest.raises(StepError, match="/train answers with no JSON"):
        ask_for_training(url)


def test_the_metrics_of_a_version_are_the_trainers(url: str) -> None:
    Scripted.script += [(200, {"model_version": "m1", "metrics": {"gamma": 0.8}})]
    assert fetch_metrics(url, "m1") == {"gamma": 0.8}
    assert Scripted.requests == ["GET /models/m1"]


def test_the_logger_is_waited_for_until_nothing_is_left(url: str) -> None:
    Scripted.script += [(200, lag(5, 2)), (200, lag(0, 1)), (200, lag(0, 0, dead_letters=3))]
    assert wait(url) == (3, ["7 to go", "1 to go"])


def test_a_logger_that_stands_still_is_given_up(url: str) -> None:
    Scripted.script += [(200, lag(5, 2))]
    with pytest.raises(StepError, match=r"7 events are not stored after 0\.1 s"):
        wait(url, timeout_s=0.1)


def test_the_recommender_is_waited_for_until_it_serves_the_version(url: str) -> None:
    Scripted.script += [
        (200, "# HELP segue_model_info The model version that serves.\n"),
        (200, 'segue_model_info{model_version="m1"} 1.0\n'),
        (200, 'other 3.0\nsegue_model_info{model_version="m2"} 1.0\n'),
    ]
    wait_for_model(url, "m2", timeout_s=10)
    assert len(Scripted.requests) == 3


def test_a_recommender_that_keeps_another_version_is_given_up(url: str) -> None:
    Scripted.script += [(200, 'segue_model_info{model_version="m1"} 1.0\n')]
    with pytest.raises(StepError, match=r"serves m1, not m2, after 0\.1 s"):
        wait_for_model(url, "m2", timeout_s=0.1)


def test_the_spool_is_waited_for_until_it_is_empty(url: str) -> None:
    Scripted.script += [(200, "segue_spooled_commits 2.0\n"), (200, "segue_spooled_commits 0.0\n")]
    wait_for_spool(url, timeout_s=10, poll_s=POLL_S)
    assert len(Scripted.requests) == 2


def test_a_spool_that_stays_full_is_given_up(url: str) -> None:
    Scripted.script += [(200, "segue_spooled_commits 2.0\n")]
    with pytest.raises(StepError, match=r"2 steps are still spooled after 0\.1 s"):
        wait_for_spool(url, timeout_s=0.1, poll_s=POLL_S)


def test_only_the_fallbacks_of_the_recommender_are_counted(url: str) -> None:
    counts = {"session:no_model": 3, "session:no_candidates": 4, "top_pop:no_model": 5, "store": 6}
    lines = [
        f'segue_fallbacks_total{{experiment="S",reason="{key}",treatment="T1"}} {n}.0'
        for key, n in counts.items()
    ]
    Scripted.script += [(200, "\n".join([*lines, ""]))]
    assert count_fallbacks(url, "session") == 7


def test_a_training_is_ordered_with_the_token(url: str) -> None:
    promotion = {"is_promoted": True, "reason": "better"}
    Scripted.script += [(202, job("succeeded", model_version="m-1", promotion=promotion))]
    headers = {"Authorization": "Bearer t"}
    train(url, timeout_s=5, show=print, headers=headers, poll_s=POLL_S)
    assert Scripted.tokens == ["Bearer t"]
