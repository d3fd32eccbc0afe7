"""HTTP that outlives a short absence of the service, and never hides another fault."""

import asyncio
import functools
import time
from collections.abc import Callable, Mapping

import aiohttp
import httpx
from httpx_aiohttp import AiohttpTransport

_RETRIED_STATUS = frozenset({429, 503})
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_EXCERPT = 200

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


class PatientClient:
    """Speaks to one service; while it is away, waits and tries again, up to its patience.

    Only faults of the connection, 429 and 503 are tried again: whoever posts makes the request
    repeatable, by an `Idempotency-Key` or by ids of its own.

    It speaks to httpx's transport without httpx's client: cookies, redirects and authentication,
    which no service of ours has, cost as much as the request itself.
    """

    def __init__(
        self,
        base_url: str,
        *,
        timeout_s: float,
        patience_s: float,
        max_connections: int,
        notify: Notify,
    ) -> None:
        """Open a client; use it as an asynchronous context manager.

        Args:
            base_url: Of the service.
            timeout_s: Of one attempt.
            patience_s: How long the service may be away.
            max_connections: At once.
            notify: Told when the service goes away and when it is back.
        """
        self.base_url = base_url.rstrip("/")
        self._patience_s = patience_s
        self._notify = notify
        self._away_since: float | None = None
        self._timeout_s = timeout_s
        self._extensions = {"timeout": httpx.Timeout(timeout_s).as_dict()}
        limits = httpx.Limits(
            max_connections=max_connections, max_keepalive_connections=max_connections
        )
        self._transport: httpx.AsyncBaseTransport = AiohttpTransport(limits=limits, trust_env=False)

    async def __aenter__(self) -> "PatientClient":
        await self._transport.__aenter__()
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._transport.aclose()

    async def get(self, path: str) -> httpx.Response:
        """Get, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        return await self._insist("GET", path, b"", {})

    async def post(self, path: str, content: bytes, headers: Mapping[str, str]) -> httpx.Response:
        """Post, and return an answer that is a success.

        Raises:
            ServiceError: If the service stays away, or answers anything else.
        """
        return await self._insist("POST", path, content, headers)

    async def _insist(
        self, method: str, path: str, content: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        url = self.base_url + path
        started, wait_s = time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                response = await self._attempt(method, url, content, headers)
                fault = f"answered {response.status_code}"
                if response.status_code not in _RETRIED_STATUS:
                    self._note_back()
                    return _check(url, response)
                wait_s = max(wait_s, _read_retry_after(response))
            except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
                raise ServiceError(f"{url}: {error}") from error
            except aiohttp.ClientResponseError as error:  # the transport lets it through
                message = " ".join(error.message.split())
                raise ServiceError(f"{url}: does not speak HTTP: {message}") from error
            except (TimeoutError, httpx.TimeoutException):
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
        self, method: str, url: str, content: bytes, headers: Mapping[str, str]
    ) -> httpx.Response:
        request = httpx.Request(
            method, _parse_url(url), content=content, headers=headers, extensions=self._extensions
        )
        async with asyncio.timeout(self._timeout_s):  # httpx's own begins anew with every byte
            response = await self._transport.handle_async_request(request)
            try:
                await response.aread()
            finally:
                await response.aclose()
        return response

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


def _check(url: str, response: httpx.Response) -> httpx.Response:
    if not response.is_success:
        raise ServiceError(
            f"{url}: answered {response.status_code}: {excerpt(response)}",
            status=response.status_code,
        )
    return response


def excerpt(response: httpx.Response) -> str:
    """Return the beginning of an answer, on one line."""
    text = " ".join(response.text.split())
    return text[:_EXCERPT] + ("…" if len(text) > _EXCERPT else "")


def _read_retry_after(response: httpx.Response) -> float:
    try:
        wait_s = float(response.headers.get("Retry-After", "0"))
    except ValueError:  # an HTTP date: our own pace will do
        return 0.0
    return min(max(wait_s, 0.0), _LONGEST_WAIT_S)
