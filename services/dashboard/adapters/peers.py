"""The other services, over HTTP."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx

from shared.tracing import trace_headers

JSON = dict[str, Any]


class PeerAwayError(RuntimeError):
    """A service that does not answer, or not as agreed; the message names it."""


class PeerRefusalError(RuntimeError):
    """A service that answered with a problem.

    Attributes:
        status: HTTP status of its answer.
    """

    def __init__(self, status: int, detail: str) -> None:
        """Keep the problem's detail."""
        super().__init__(detail)
        self.status = status


class Peer:
    """One service.

    Attributes:
        name: As users call it.
    """

    def __init__(
        self,
        name: str,
        client: httpx.AsyncClient,
        *,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Call it through a client whose base address is the service's; posts get the headers."""
        self.name = name
        self._headers = dict(headers or {})
        self._client = client

    async def get(self, path: str) -> Any:
        """Fetch JSON.

        Raises:
            PeerAwayError: If the service cannot be reached.
            PeerRefusalError: If it answers with a problem.
        """
        return _decode(self.name, await self._send("GET", path))

    async def post(
        self, path: str, body: Any = None, *, headers: Mapping[str, str] | None = None
    ) -> Any:
        """Post JSON and return the JSON of the answer; errors as `get`."""
        sent = self._headers | dict(headers or {})
        return _decode(self.name, await self._send("POST", path, body=body, headers=sent))

    async def get_text(self, path: str) -> str:
        """Fetch text; errors as `get`."""
        return (await self._send("GET", path)).text

    async def get_file(self, path: str) -> tuple[bytes, str]:
        """Fetch a file and its media type; errors as `get`."""
        answer = await self._send("GET", path)
        return answer.content, answer.headers.get("Content-Type", "application/octet-stream")

    async def is_up(self) -> bool:
        """Say whether it answers at all."""
        try:
            await self._send("GET", "/health/live")
        except (PeerAwayError, PeerRefusalError):
            return False
        return True

    async def _send(
        self,
        method: str,
        path: str,
        *,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        try:
            sent = trace_headers() | dict(headers or {})
            answer = await self._client.request(method, path, json=body, headers=sent)
        except (httpx.HTTPError, OSError) as error:
            reason = str(error) or type(error).__name__
            raise PeerAwayError(f"the {self.name} does not answer: {reason}") from error
        if answer.is_error:
            raise PeerRefusalError(answer.status_code, _detail(answer))
        return answer


class Peers:
    """The services that the dashboard talks to."""

    def __init__(self, *, recommender: Peer, trainer: Peer, logger: Peer) -> None:
        """Hold them."""
        self.recommender = recommender
        self.trainer = trainer
        self.logger = logger

    async def list_up(self) -> dict[str, bool]:
        """Say of each service whether it answers."""
        peers = (self.recommender, self.trainer, self.logger)
        answers = await asyncio.gather(*(peer.is_up() for peer in peers))
        return {peer.name: answer for peer, answer in zip(peers, answers, strict=True)}


def _decode(name: str, answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError as error:
        raise PeerAwayError(f"the {name} answers something other than JSON") from error


def _detail(answer: httpx.Response) -> str:
    try:
        body = answer.json()
    except ValueError:
        body = None
    if isinstance(body, dict) and "detail" in body:
        return str(body["detail"])
    return f"it answers {answer.status_code}"
