"""What stands around every request: its id, its limits, its headers, its time, its trace."""

import itertools
import logging
import re
import secrets
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI
from prometheus_client import CollectorRegistry
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.gate import Gate
from shared.http import ProblemError
from shared.logs import REQUEST_ID
from shared.metrics import RequestDurations, show_build
from shared.openapi import document_problems
from shared.origin import check_origin
from shared.tracing import HEADER, Tracing, trace

access = logging.getLogger("segue.access")
log = logging.getLogger(__name__)

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
# Asked every few seconds, and answered however busy the service is.
OPERATIONS = ("/health/", "/metrics")
DOCUMENTS = frozenset({"/docs", "/redoc", "/docs/oauth2-redirect"})  # bring scripts of their own
UNMATCHED = "unmatched"
NOSNIFF = (b"x-content-type-options", b"nosniff")
HEADERS = {
    b"x-content-type-options": b"nosniff",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'",
    b"cache-control": b"no-store",
}
_REQUEST_ID = re.compile(rb"[\w.:+/=-]{1,128}", re.ASCII)
_prefix = secrets.token_hex(6)
_numbers = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class EdgeOptions:
    """What one service's edge does.

    Attributes:
        service: Its name in metrics.
        is_local: Whether it listens on loopback alone, and nothing else says by which names.
        tracing: Makes a span of every request; None makes none.
        max_in_flight: Requests being answered at once; more get 429.
        max_body: Bytes of a body; more get 413. None leaves it to the routes.
    """

    service: str
    is_local: bool = False
    tracing: Tracing | None = None
    max_in_flight: int = 200
    max_body: int | None = 64 * 1024


def install_edge(
    app: FastAPI,
    options: EdgeOptions,
    *,
    registry: CollectorRegistry,
    durations: RequestDurations | None = None,
) -> None:
    """Put the edge around an application, after all its routes and middleware.

    Args:
        app: The service.
        options: Of its edge.
        registry: Its metrics.
        durations: Told of every answer; made in the registry unless it is there already.
    """
    show_build(registry, service=options.service)
    document_problems(app)
    app.add_middleware(
        Edge,
        options=options,
        durations=durations or RequestDurations(registry),
        paths=dict(filter(None, map(_find_template, app.routes))),
    )


class Edge:
    """ASGI middleware, the outermost of a service."""

    def __init__(
        self,
        app: ASGIApp,
        options: EdgeOptions,
        durations: RequestDurations,
        paths: Mapping[Any, str],
    ) -> None:
        """Wrap the application; `paths` gives the template of each endpoint's route."""
        self._app = app
        self._options = options
        self._durations = durations
        self._paths = paths
        self._gate = Gate(options.max_in_flight)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = dict(reversed(scope["headers"]))  # of a repeated header, the first counts
        request_id = read_request_id(headers.get(b"x-request-id"))
        token = REQUEST_ID.set(request_id)
        started = time.perf_counter()
        answer = _Answer(send, request_id, is_document=scope["path"] in DOCUMENTS)
        is_operation = scope["path"].startswith(OPERATIONS)
        tracing = None if is_operation else self._options.tracing
        parent = headers.get(HEADER.encode(), b"").decode("latin-1")
        try:
            with trace(tracing, scope["method"], kind="server", parent=parent) as span:
                await self._answer(scope, receive, answer, headers, is_bounded=not is_operation)
                if span is not None:
                    span.update_name(f"{scope['method']} {self._route(scope)}")
                    span.set_attributes(
                        {
                            "http.request.method": scope["method"],
                            "http.route": self._route(scope),
                            "http.response.status_code": answer.status,
                        }
                    )
                self._tell(scope, answer.status, started, is_quiet=is_operation)
        finally:
            REQUEST_ID.reset(token)

    async def _answer(
        self,
        scope: Scope,
        receive: Receive,
        answer: "_Answer",
        headers: Mapping[bytes, bytes],
        *,
        is_bounded: bool,
    ) -> None:
        limit = self._options.max_body
        try:
            if scope["method"] not in SAFE:
                check_origin(headers, is_local=self._options.is_local)
            if limit is not None:
                receive = _bound(receive, headers, limit)
            if not is_bounded:
                await self._app(scope, receive, answer)
                return
            with self._gate:
                await self._app(scope, receive, answer)
        except ProblemError as error:
            await error.to_response()(scope, receive, answer)
        except Exception:
            log.exception("%s %s failed", scope["method"], self._route(scope))
            if answer.has_begun:
                raise
            problem = ProblemError(500, "Internal error", "see the service's log for this request")
            await problem.to_response()(scope, receive, answer)

    def _tell(self, scope: Scope, status: int, started: float, *, is_quiet: bool) -> None:
        method, route = scope["method"], self._route(scope)
        duration_s = time.perf_counter() - started
        self._durations.observe(method, route, status, duration_s)
        level = logging.DEBUG
        if status >= 500 and not is_quiet:
            level = logging.WARNING
        elif method not in SAFE:
            level = logging.INFO
        log_access(level, method, route, status, duration_s)

    def _route(self, scope: Scope) -> str:
        route = scope.get("route")
        path = getattr(route, "path", None) or self._paths.get(scope.get("endpoint"))
        return path or UNMATCHED


class _Answer:
    """What is sent: adds the headers of every answer, and notes its status."""

    def __init__(self, send: Send, request_id: str, *, is_document: bool) -> None:
        self.status = 500
        self.has_begun = False
        self._send = send
        self._request_id = request_id
        self._is_document = is_document

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status, self.has_begun = message["status"], True
            given = list(message.get("headers", ()))
            names = {name.lower() for name, _ in given}
            if self._is_document:
                names.add(b"content-security-policy")
            ours = [pair for pair in HEADERS.items() if pair[0] not in names]
            request_id = (b"x-request-id", self._request_id.encode())
            message = {**message, "headers": [*given, *ours, request_id]}
        await self._send(message)


def read_request_id(given: bytes | None) -> str:
    """Return the id that a request came with, or make one; one with odd characters is not kept."""
    if given is not None and _REQUEST_ID.fullmatch(given):
        return given.decode()
    return f"{_prefix}-{next(_numbers):x}"


def log_access(level: int, method: str, route: str, status: int, duration_s: float) -> None:
    """Log an answer, the client's text not included: only what has a bounded number of values."""
    if access.isEnabledFor(level):
        duration_ms = round(1000 * duration_s, 3)
        extra: dict[str, Any] = {
            "method": method,
            "route": route,
            "status": status,
            "duration_ms": duration_ms,
        }
        access.log(level, "answered", extra=extra)


def _bound(receive: Receive, headers: Mapping[bytes, bytes], limit: int) -> Receive:
    declared = headers.get(b"content-length", b"")
    detail = f"the body is larger than {limit} bytes"
    if declared.isdigit() and int(declared[:20]) > limit:
        raise ProblemError(413, "Content too large", detail, field="body")
    n_bytes = 0

    async def bounded() -> Message:
        nonlocal n_bytes
        message = await receive()
        n_bytes += len(message.get("body", b""))
        if n_bytes > limit:
            raise HTTPException(413, detail)  # the one kind that FastAPI lets through
        return message

    return bounded


def _find_template(route: BaseRoute) -> tuple[Any, str] | None:
    if isinstance(route, Mount):
        return route.app, route.path
    return (route.endpoint, route.path) if isinstance(route, Route) else None
