from collections.abc import Callable

import httpx
import pytest

from analysis.adapters.logger_client import LoggerClient, LoggerError, open_client
from analysis.settings import Settings

RECEIPT = {"received": 2, "stored": 1, "duplicates": 0, "rejected": 1}
RECEIPT |= {"reasons": [{"line": 2, "reason": "clock: 1970"}]}


def make_client(
    answer: Callable[[httpx.Request], httpx.Response],
) -> tuple[LoggerClient, list[float]]:
    pauses: list[float] = []
    client = httpx.Client(transport=httpx.MockTransport(answer), base_url="http://logger")
    return LoggerClient(client, pause=pauses.append), pauses


def test_payloads_are_lines_of_one_request() -> None:
    requests = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append((request.method, request.url.path, request.content))
        assert request.headers["content-type"] == "application/x-ndjson"
        return httpx.Response(200, json=RECEIPT)

    client, pauses = make_client(answer)
    receipt = client.send([b"one", b"two"])
    assert requests == [("POST", "/events", b"one\ntwo")]
    assert (receipt.stored, receipt.rejected, receipt.reasons[0].line) == (1, 1, 2)
    assert pauses == []


def test_a_logger_that_is_away_for_a_moment_is_tried_again() -> None:
    answers = iter([httpx.ConnectError("refused"), 503, 429, 200])

    def answer(request: httpx.Request) -> httpx.Response:
        match next(answers):
            case int(status):
                return httpx.Response(status, json=RECEIPT)
            case error:
                raise error

    client, pauses = make_client(answer)
    assert client.send([b"one"]).stored == 1
    assert pauses == [0.2, 0.4, 0.8]


@pytest.mark.parametrize(
    ("response", "fault", "n_pauses"),
    [
        (httpx.Response(503, text="down"), "503: down", 5),
        (httpx.Response(401, text="token?"), "401: token", 0),
        (httpx.Response(200, text="<html>"), "not an answer of a logger", 0),
    ],
)
def test_what_is_no_storing_is_an_error(
    response: httpx.Response, fault: str, n_pauses: int
) -> None:
    client, pauses = make_client(lambda _: response)
    with pytest.raises(LoggerError, match=fault):
        client.send([b"one"])
    assert len(pauses) == n_pauses


def test_the_token_is_sent_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    with open_client("http://logger", Settings()) as client:
        assert "authorization" not in client.headers
    monkeypatch.setenv("SEGUE_API_TOKEN", "secret")
    with open_client("http://logger", Settings()) as client:
        assert client.headers["authorization"] == "Bearer secret"
