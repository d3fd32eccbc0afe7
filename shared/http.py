"""What every service's HTTP edge agrees on: problem details, health, metrics."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import msgspec
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry
from starlette.exceptions import HTTPException

from shared.metrics import expose

MEDIA_TYPE = "application/problem+json"

HealthCheck = Callable[[], Awaitable[Mapping[str, str]]]


class ProblemError(Exception):
    """An answer other than success, as RFC 9457 problem details."""

    def __init__(
        self,
        status: int,
        title: str,
        detail: str,
        *,
        field: str | None = None,
        headers: Mapping[str, str] | None = None,
        **extra: Any,
    ) -> None:
        """Say what went wrong.

        Args:
            status: HTTP status.
            title: The kind of problem, the same each time it occurs.
            detail: This occurrence.
            field: The input field at fault.
            headers: Of the answer.
            extra: Further members of the answer.
        """
        super().__init__(detail)
        self.status = status
        self.headers = dict(headers or {})
        self.body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
        if field is not None:
            self.body["field"] = field
        self.body |= extra

    def to_response(self) -> Response:
        """Encode as `application/problem+json`."""
        headers = {"Retry-After": "1"} if self.status in {429, 503} else {}
        return Response(
            msgspec.json.encode(self.body),
            self.status,
            media_type=MEDIA_TYPE,
            headers=headers | self.headers,
        )


def install_problem_handlers(app: FastAPI) -> None:
    """Make every error of the application a problem detail."""

    async def on_problem(_: Request, error: Exception) -> Response:
        assert isinstance(error, ProblemError)  # noqa: S101 - narrows for the type checker
        return error.to_response()

    async def on_http(_: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101
        response = ProblemError(error.status_code, "HTTP error", str(error.detail)).to_response()
        response.headers.update(error.headers or {})
        return response

    async def on_validation(_: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101
        first = error.errors()[0]
        where = first["loc"][:1] if first["type"] == "json_invalid" else first["loc"][1:]
        field = ".".join(str(part) for part in where) or str(first["loc"][0])
        return ProblemError(422, "Invalid request", first["msg"], field=field).to_response()

    app.add_exception_handler(ProblemError, on_problem)
    app.add_exception_handler(HTTPException, on_http)
    app.add_exception_handler(RequestValidationError, on_validation)


def install_error_map(app: FastAPI, problems: Mapping[type[Exception], tuple[int, str]]) -> None:
    """Map domain errors to problem details: the message is the detail.

    Args:
        app: The service.
        problems: Status and title per kind of error, subclasses included.
    """

    def add(kind: type[Exception], status: int, title: str) -> None:
        async def answer(_: Request, error: Exception) -> Response:
            return ProblemError(status, title, str(error) or type(error).__name__).to_response()

        app.add_exception_handler(kind, answer)

    for kind, (status, title) in problems.items():
        add(kind, status, title)


def install_operations(
    app: FastAPI,
    *,
    ready: HealthCheck,
    registry: CollectorRegistry,
    flush: Callable[[], None] = lambda: None,
) -> None:
    """Add `/health/live`, `/health/ready` and `/metrics`.

    Args:
        app: The service.
        ready: Returns a word per dependency; any word other than `ok` means not ready.
        registry: Its metrics.
        flush: Writes what has yet to be written of them.
    """

    @app.get("/health/live", tags=["operations"])
    async def live() -> dict[str, str]:
        """Answer that the process runs."""
        return {"status": "ok"}

    @app.get("/health/ready", tags=["operations"])
    async def readiness(response: Response) -> dict[str, Any]:
        """Answer whether every dependency can be used; 503 if one cannot."""
        parts = dict(await ready())
        is_ready = all(word == "ok" for word in parts.values())
        response.status_code = 200 if is_ready else 503
        return {"status": "ok" if is_ready else "not ready", "parts": parts}

    @app.get("/metrics", tags=["operations"], response_class=Response)
    async def metrics() -> Response:
        """Expose the metrics in Prometheus' text format."""
        flush()
        return Response(expose(registry), media_type=CONTENT_TYPE_LATEST)
