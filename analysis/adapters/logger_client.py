"""The logger, to which events are sent; sending them again stores nothing twice."""

import time
from collections.abc import Callable, Sequence

import httpx
import msgspec

from analysis.settings import Settings

_HEADERS = {"Content-Type": "application/x-ndjson"}
_RETRIED = frozenset({429, 502, 503, 504})
_TRIES = 6
_FIRST_WAIT_S = 0.2


class LoggerError(RuntimeError):
    """A logger that does not store what it is sent; the message says why."""


class Reason(msgspec.Struct):
    """Why the logger rejects a payload.

    Attributes:
        line: Its place in the request, from 1.
        reason: What is wrong.
    """

    line: int
    reason: str


class Receipt(msgspec.Struct):
    """What the logger says of a request."""

    received: int
    stored: int
    duplicates: int
    rejected: int
    reasons: list[Reason]


class LoggerClient:
    """Sends payloads, and waits for a logger that is away for a moment."""

    def __init__(
        self, client: httpx.Client, *, pause: Callable[[float], None] = time.sleep
    ) -> None:
        """Speak through an open client, whose base URL is the logger's."""
        self._client = client
        self._pause = pause

    def send(self, payloads: Sequence[bytes]) -> Receipt:
        """Send payloads, one line each; what is rejected becomes a dead letter.

        Raises:
            LoggerError: If the logger stays away, refuses the request, or answers rubbish.
        """
        content, wait_s = b"\n".join(payloads), _FIRST_WAIT_S
        for attempt in range(1, _TRIES + 1):
            try:
                response = self._client.post("/events", content=content, headers=_HEADERS)
            except httpx.TransportError as error:
                fault = (
                    f"no logger at {self._client.base_url}: {str(error) or type(error).__name__}"
                )
            else:
                if response.status_code not in _RETRIED:
                    return _read(response)
                fault = f"{response.url}: {response.status_code}: {response.text[:200]}"
            if attempt < _TRIES:
                self._pause(wait_s)
                wait_s *= 2
        raise LoggerError(fault)


def open_client(url: str, settings: Settings) -> httpx.Client:
    """Open a client of the logger, with the token if there is one."""
    token = settings.api_token
    headers = {"Authorization": f"Bearer {token.get_secret_value()}"} if token else {}
    return httpx.Client(base_url=url, timeout=120, headers=headers)


def _read(response: httpx.Response) -> Receipt:
    if response.status_code != 200:
        raise LoggerError(f"{response.url}: {response.status_code}: {response.text[:200]}")
    try:
        return msgspec.json.decode(response.content, type=Receipt)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LoggerError(f"{response.url}: not an answer of a logger: {error}") from error
