"""How every service logs: one line an entry, to standard error, as text or as JSON."""

import logging
import re
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

LogFormat = Literal["text", "json"]

REQUEST_ID: ContextVar[str | None] = ContextVar("request_id", default=None)
TRACE_ID: ContextVar[str | None] = ContextVar("trace_id", default=None)

# What an entry may carry beside its message, as `extra`; the first two come by themselves.
FIELDS = (
    "request_id",
    "trace_id",
    "session",
    "event_id",
    "job_id",
    "method",
    "route",
    "status",
    "duration_ms",
)
# Passwords in URLs: anything that quotes one, an exception's text included.
_PASSWORD = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s:/@'\"]*:)[^\s/'\"]+@", re.IGNORECASE)
_BEARER = re.compile(r"\b(bearer|basic)\s+[\w+/=.~-]+", re.IGNORECASE)


def configure_logging(level: str, log_format: LogFormat = "text") -> None:
    """Log the service's own entries and the server's in one form.

    Args:
        level: Name of the least level that is logged.
        log_format: `text` for eyes, `json` for programs: one object per line.
    """
    handler = logging.StreamHandler()
    handler.addFilter(add_context)
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request


def mask_secrets(text: str) -> str:
    """Hide the passwords of URLs and the credentials of Authorization headers."""
    return _BEARER.sub(r"\1 ***", _PASSWORD.sub(r"\1***@", text))


def add_context(record: logging.LogRecord) -> bool:
    """Give an entry the request that it belongs to, and its trace; keeps every entry."""
    if not hasattr(record, "request_id"):
        record.request_id = REQUEST_ID.get()
    if not hasattr(record, "trace_id"):
        record.trace_id = TRACE_ID.get()
    return True


class TextFormatter(logging.Formatter):
    """`time LEVEL logger: message key=value ...`."""

    def __init__(self) -> None:
        """Set the line's form."""
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """Write the line, its fields last."""
        fields = " ".join(f"{name}={value}" for name, value in _fields(record).items())
        line = super().formatMessage(record)
        return f"{line} {fields}" if fields else line

    def format(self, record: logging.LogRecord) -> str:
        """Write the entry, a traceback below it."""
        return mask_secrets(super().format(record))


class JsonFormatter(logging.Formatter):
    """One JSON object per entry; a traceback is its `exception`."""

    def format(self, record: logging.LogRecord) -> str:
        """Write the entry."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": mask_secrets(record.getMessage()),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = mask_secrets(self.formatException(record.exc_info))
        return msgspec.json.encode(entry, enc_hook=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    values = ((name, getattr(record, name, None)) for name in FIELDS)
    return {name: value for name, value in values if value is not None}
