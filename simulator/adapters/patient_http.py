"""HTTP that outlives a short absence of the service, and never hides another fault."""

import asyncio
import time
from collections.abc import Callable, Mapping
from urllib.parse import quote

import httpx
import msgspec

from simulator.adapters.connection import Reply
from simulator.adapters.transport import Transport

_RETRIED_STATUS = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_EXCERPT = 200
_SIGNS = "%/?[]@!$&'()*+,;=:"  # that a path and a query may have as they are

Notify = Callable[[str], None]


class ServiceError(RuntimeError):
    """A service that cannot be used; the message names the URL and the fault.

    Attributes:
        status: Of the answer, if there was one.
    """

    def __init__(self, message: str, *, status: int | None = None) -> None:
        """Say what is wrong."""
        super().__init__(message)
        self.status = status


class Answer(msgspec.Struct, frozen=True):
    """A whole answer that is a success."""

    url: str
    status: int
    content: bytes

    @property
    def excerpt(self) -> str:
        """The beginning of the content, on one line."""
        text = " ".join(self.content.decode(errors="replace").split())
        return text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")


class PatientClient:
    """Speaks to one service; while it is away, waits and tries again, up to its patience.

    Only faults of the connection, 429 and 503 are tried again: whoever posts makes the request
    repeatable, by an `Idempotency-Key` or by ids of its own.

    It speaks to a transport without httpx's client, requests and responses, which cost more than
    the exchange itself (docs/adr/0003-client-transport.md): no cookies, redirects, authentication
    or decompression.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        patience_s: float,
        max_connections: int,
        notify: Notify,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Open a client; use it as an asynchronous context manager.

        Args:
            base_url: Of the service.
            timeout_s: Of one attempt.
            patience_s: How long the service may be away.
            max_connections: At once.
            notify: Told when the service goes away and when it is back.
            headers: Of every post, beside its own.

        Raises:
            ServiceError: If the URL is none of HTTP.
        """
        self._headers = {k.encode(): v.encode() for k, v in (headers or {}).items()}
        self.base_url = base_url.rstrip("/")
        self._patience_s = patience_s
        self._notify = notify
        self._away_since: float | None = None
        try:
            url = httpx.URL(self.base_url)
            self._transport = Transport(url, timeout_s=timeout_s, max_connections=max_connections)
        except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
            raise ServiceError(f"{base_url}: {error}") from error
        self._base_path = url.raw_path.rstrip(b"/")

    async def __aenter__(self) -> "PatientClient":
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._transport.aclose()

    async def get(self, path: str) -> Answer:
        """Get, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        return await self._insist(b"GET", path, b"", {})

    async def post(self, path: str, content: bytes, headers: Mapping[bytes, bytes]) -> Answer:
        """Post, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        if self._headers:
            headers = {**self._headers, **headers}
        return await self._insist(b"POST", path, content, headers)

    async def _insist(
        self, method: bytes, path: str, content: bytes, headers: Mapping[bytes, bytes]
    ) -> Answer:
        url = self.base_url + path
        target = self._base_path + quote(path, _SIGNS).encode() or b"/"
        started, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                reply = await self._transport.exchange(method, target, headers.items(), content)
                if reply.status not in _RETRIED_STATUS:
                    self._note_back()
                    return _check(url, reply)
                fault = f"answered {reply.status}"
                wait_s = max(wait_s, _read_retry_after(reply))
            except (httpx.LocalProtocolError, httpx.RemoteProtocolError) as error:
                raise ServiceError(f"{url}: {error}") from error
            except httpx.TransportError as error:
                fault = str(error)
            left_s = started + self._patience_s - time.monotonic()
            if left_s <= 0:
                raise ServiceError(f"{url}: {fault}; gave up after {self._patience_s:g} s")
            self._note_away(url, fault)
            await asyncio.sleep(min(wait_s, left_s))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _note_away(self, url: str, fault: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._notify(f"{url}: {fault}; paused, trying again for {self._patience_s:g} s")

    def _note_back(self) -> None:
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            self._away_since = None
            self._notify(f"{self.base_url}: back after {away_s:.1f} s, going on")


def _check(url: str, reply: Reply) -> Answer:
    answer = Answer(url, reply.status, reply.content)
    if not httpx.codes.is_success(answer.status):
        raise ServiceError(
            f"{url}: answered {answer.status}: {answer.excerpt}", status=answer.status
        )
    return answer


def _read_retry_after(reply: Reply) -> float:
    try:
        wait_s = float(httpx.Headers(reply.headers).get("Retry-After", 0))
    except ValueError:  # an HTTP date: our own pace will do
        return 0.0
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
