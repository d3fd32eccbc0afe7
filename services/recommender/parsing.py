"""From an HTTP request to a report: strict, bounded, and naming the field at fault."""

import re
from collections.abc import Mapping, Sequence

import msgspec
from starlette.datastructures import QueryParams
from starlette.types import Receive

from services.recommender.core.sessions import Message, Report
from shared.events import MAX_ID, Fraction, Id
from shared.http import ProblemError

MAX_BODY = 64 * 1024
MAX_KEY = 200

Headers = Sequence[tuple[bytes, bytes]]
ReadHeaders = Mapping[bytes, bytes]

_ID = re.compile(r"[0-9]{1,10}", re.ASCII)
_KEY = re.compile(rb"[\x20-\x7e]{1,%d}" % MAX_KEY)
_FIELD = re.compile(r"(?:`\$\.|field `)(\w+)")
_READ = frozenset(
    {
        b"idempotency-key",
        b"content-type",
        b"x-request-id",
        b"traceparent",
        b"host",
        b"origin",
        b"sec-fetch-site",
    }
)


class PlaybackBody(msgspec.Struct, frozen=True):
    """The body of a report; unknown fields are ignored.

    Attributes:
        track: Track just played.
        time: Fraction of it that was listened to, in [0, 1] (botify's wire name).
    """

    track: Id
    time: Fraction


_decoder = msgspec.json.Decoder(PlaybackBody)


def read_headers(headers: Headers) -> ReadHeaders:
    """Return the headers that matter here; of a repeated one, the first counts."""
    return {name: value for name, value in reversed(headers) if name in _READ}


def parse_report(headers: ReadHeaders, body: bytes, *, message: Message, user: str) -> Report:
    """Read a report.

    Args:
        headers: Of the request, as `read_headers` returns them.
        body: Of the request.
        message: What it reports.
        user: The path's last part.

    Raises:
        ProblemError: If any part of the request is not what it should be.
    """
    user_id = parse_id(user, field="user")
    key = _parse_key(headers.get(b"idempotency-key"))
    _check_content_type(headers.get(b"content-type", b""))
    playback = _parse_body(body)
    return Report(message, user_id, playback.track, playback.time, key)


def parse_id(text: str, *, field: str) -> int:
    """Read an id from a path.

    Raises:
        ProblemError: If it is no integer of [0, 2**31).
    """
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        detail = f"{field} is not an integer from 0 to {MAX_ID}"
        raise ProblemError(422, "Invalid request", detail, field=field)
    return int(text)


def parse_explain(query: bytes) -> bool:
    """Read from a query whether the answer is to say why.

    Raises:
        ProblemError: If it is neither 0 nor 1.
    """
    if not query:
        return False
    value = QueryParams(query.decode("latin-1")).get("explain", "0")
    if value not in {"0", "1"}:
        raise ProblemError(422, "Invalid request", "explain is not 0 or 1", field="explain")
    return value == "1"


async def read_body(receive: Receive, headers: Headers) -> bytes:
    """Read a body from ASGI.

    Raises:
        ProblemError: If it is too large, or the client leaves.
    """
    declared = dict(headers).get(b"content-length", b"")
    if declared.isdigit() and int(declared[:20]) > MAX_BODY:
        raise too_large()
    body = b""
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ProblemError(400, "Incomplete body", "the client left", field="body")
        chunk: bytes = message.get("body", b"")
        body += chunk
        if len(body) > MAX_BODY:
            raise too_large()
        if not message.get("more_body", False):
            return body


def too_large() -> ProblemError:
    """Return what the sender of too large a body is told."""
    detail = f"the body is larger than {MAX_BODY} bytes"
    return ProblemError(413, "Content too large", detail, field="body")


def _parse_key(key: bytes | None) -> str | None:
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        detail = f"Idempotency-Key is not 1 to {MAX_KEY} printable ASCII characters"
        raise ProblemError(422, "Invalid request", detail, field="Idempotency-Key")
    return key.decode("ascii")


def _check_content_type(content_type: bytes) -> None:
    if content_type == b"application/json":
        return
    media_type = content_type.partition(b";")[0].strip().lower()
    if content_type and media_type != b"application/json":
        detail = "the body is not declared as application/json"
        raise ProblemError(415, "Unsupported media type", detail, field="body")


def _parse_body(body: bytes) -> PlaybackBody:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        match = _FIELD.search(str(error))
        field = match[1] if match else "body"
        raise ProblemError(422, "Invalid request", str(error), field=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, "Malformed JSON", str(error), field="body") from error
