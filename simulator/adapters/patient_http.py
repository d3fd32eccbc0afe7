"""HTTP that outlives a short absence of the service, and never hides another fault."""

import asyncio
import functools
import time
from collections.abc import AsyncIterable, Callable, Mapping
from typing import cast

import aiohttp
import httpx
import msgspec
from httpx_aiohttp import AiohttpTransport

from simulator.adapters.deadlines import Deadlines

_RETRIED_STATUS = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_EXCERPT = 200
_KEEPALIVE_S = 4.0  # less than uvicorn's 5, so that no service closes a connection as we use it
_UNWANTED_HEADERS = ("Accept", "Accept-Encoding", "User-Agent")  # that aiohttp adds by itself

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
    """A whole answer; `retry_after` is that header as it came."""

    url: str
    status: int
    content: bytes
    retry_after: str = ""

    @property
    def excerpt(self) -> str:
        """The beginning of the content, on one line."""
        text = " ".join(self.content.decode(errors="replace").split())
        return text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")


class PatientClient:
    """Speaks to one service; while it is away, waits and tries again, up to its patience.

    Only faults of the connection, 429 and 503 are tried again: whoever posts makes the request
    repeatable, by an `Idempotency-Key` or by ids of its own.

    It speaks to httpx's transport without httpx's client, and reads the transport's stream itself:
    cookies, redirects, authentication and decompression, which no service of ours has, cost more
    than the request itself (docs/adr/0003-client-transport.md).
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
        """
        self._headers = {k.encode(): v.encode() for k, v in (headers or {}).items()}
        self.base_url = base_url.rstrip("/")
        self._patience_s = patience_s
        self._notify = notify
        self._away_since: float | None = None
        self._timeout_s = timeout_s
        self._deadlines = Deadlines(timeout_s)  # httpx's begins anew with every byte
        self._transport: httpx.AsyncBaseTransport = _create_transport(max_connections)

    async def __aenter__(self) -> "PatientClient":
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self._deadlines.close()
        await self._transport.aclose()

    async def get(self, path: str) -> Answer:
        """Get, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        return await self._insist("GET", path, b"", {})

    async def post(self, path: str, content: bytes, headers: Mapping[bytes, bytes]) -> Answer:
        """Post, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        if self._headers:
            headers = {**self._headers, **headers}
        return await self._insist("POST", path, content, headers)

    async def _insist(
        self, method: str, path: str, content: bytes, headers: Mapping[bytes, bytes]
    ) -> Answer:
        url = self.base_url + path
        started, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                answer = await self._attempt(method, url, content, headers)
                if answer.status not in _RETRIED_STATUS:
                    self._note_back()
                    return _check(answer)
                fault = f"answered {answer.status}"
                wait_s = max(wait_s, _read_retry_after(answer))
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ServiceError(f"{url}: {error}") from error
            except aiohttp.ClientResponseError as error:  # the transport lets it through
                message = " ".join(error.message.split())
                raise ServiceError(f"{url}: does not speak HTTP: {message}") from error
            except TimeoutError:
                fault = f"no answer within {self._timeout_s:g} s"
            except httpx.TransportError as error:
                fault = str(error) or type(error).__name__
            left_s = started + self._patience_s - time.monotonic()
            if left_s <= 0:
                raise ServiceError(f"{url}: {fault}; gave up after {self._patience_s:g} s")
            self._note_away(url, fault)
            await asyncio.sleep(min(wait_s, left_s))
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    async def _attempt(
        self, method: str, url: str, content: bytes, headers: Mapping[bytes, bytes]
    ) -> Answer:
        stream = httpx.ByteStream(content)  # given as `content`, httpx works out headers again
        request = httpx.Request(method, _parse_url(url), headers=headers, stream=stream)
        request.read()
        with self._deadlines:
            response = await self._transport.handle_async_request(request)
            answered = cast("AsyncIterable[bytes]", response.stream)
            try:
                body = b"".join([part async for part in answered])
            finally:
                await response.aclose()
        if response.status_code in _RETRIED_STATUS:
            retry_after = response.headers.get("Retry-After", "")
            return Answer(url, response.status_code, body, retry_after)
        return Answer(url, response.status_code, body)

    def _note_away(self, url: str, fault: str) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            self._notify(f"{url}: {fault}; paused, trying again for {self._patience_s:g} s")

    def _note_back(self) -> None:
        if self._away_since is not None:
            away_s = time.monotonic() - self._away_since
            self._away_since = None
            self._notify(f"{self.base_url}: back after {away_s:.1f} s, going on")


@functools.lru_cache(maxsize=65_536)
def _parse_url(url: str) -> httpx.URL:
    return httpx.URL(url)


def _create_transport(max_connections: int) -> AiohttpTransport:
    certificates = httpx.create_ssl_context(trust_env=False)

    def connect() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                limit=max_connections, keepalive_timeout=_KEEPALIVE_S, ssl=certificates
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=_UNWANTED_HEADERS,
        )

    return AiohttpTransport(verify=certificates, client=connect)


def _check(answer: Answer) -> Answer:
    if not httpx.codes.is_success(answer.status):
        raise ServiceError(
            f"{answer.url}: answered {answer.status}: {answer.excerpt}", status=answer.status
        )
    return answer


def _read_retry_after(answer: Answer) -> float:
    try:
        wait_s = float(answer.retry_after or "0")
    except ValueError:  # an HTTP date: our own pace will do
        return 0.0
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
