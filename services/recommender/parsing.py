"""From an HTTP request to a report: strict, bounded, and naming the field at fault."""

import re

import msgspec
from starlette.requests import ClientDisconnect, Request

from services.recommender.core.sessions import Message, Report
from shared.events import MAX_ID, Fraction, Id
from shared.http import ProblemError

MAX_BODY = 64 * 1024
MAX_KEY = 200

_ID = re.compile(r"[0-9]{1,10}", re.ASCII)
_KEY = re.compile(rf"[\x20-\x7e]{{1,{MAX_KEY}}}")
_FIELD = re.compile(r"(?:`\$\.|field `)(\w+)")


class PlaybackBody(msgspec.Struct, frozen=True):
    """The body of a report; unknown fields are ignored.

    Attributes:
        track: Track just played.
        time: Fraction of it that was listened to, in [0, 1] (botify's wire name).
    """

    track: Id
    time: Fraction


_decoder = msgspec.json.Decoder(PlaybackBody)


async def parse_report(request: Request, message: Message) -> Report:
    """Read a report.

    Raises:
        ProblemError: If any part of the request is not what it should be.
    """
    user = parse_id(request.path_params["user"], field="user")
    key = _parse_key(request.headers.get("idempotency-key"))
    _check_content_type(request.headers.get("content-type"))
    body = _parse_body(await _read_body(request))
    return Report(message, user, body.track, body.time, key)


def parse_id(text: str, *, field: str) -> int:
    """Read an id from a path.

    Raises:
        ProblemError: If it is no integer of [0, 2**31).
    """
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        detail = f"{field} is not an integer from 0 to {MAX_ID}"
        raise ProblemError(422, "Invalid request", detail, field=field)
    return int(text)


def parse_explain(request: Request) -> bool:
    """Read whether the answer is to say why.

    Raises:
        ProblemError: If it is neither 0 nor 1.
    """
    if not request.scope["query_string"]:
        return False
    value = request.query_params.get("explain", "0")
    if value not in {"0", "1"}:
        raise ProblemError(422, "Invalid request", "explain is not 0 or 1", field="explain")
    return value == "1"


def _parse_key(key: str | None) -> str | None:
    if key is not None and not _KEY.fullmatch(key):
        detail = f"Idempotency-Key is not 1 to {MAX_KEY} printable ASCII characters"
        raise ProblemError(422, "Invalid request", detail, field="Idempotency-Key")
    return key


def _check_content_type(content_type: str | None) -> None:
    media_type = (content_type or "application/json").partition(";")[0].strip().lower()
    if media_type != "application/json":
        detail = "the body is not declared as application/json"
        raise ProblemError(415, "Unsupported media type", detail, field="body")


async def _read_body(request: Request) -> bytes:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared[:20]) > MAX_BODY:
        raise _too_large()
    body = b""
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                raise _too_large()
    except ClientDisconnect as error:
        raise ProblemError(400, "Incomplete body", "the client left", field="body") from error
    return body


def _too_large() -> ProblemError:
    detail = f"the body is larger than {MAX_BODY} bytes"
    return ProblemError(413, "Content too large", detail, field="body")


def _parse_body(body: bytes) -> PlaybackBody:
    try:
        return _decoder.decode(body)
    except msgspec.ValidationError as error:
        match = _FIELD.search(str(error))
        field = match[1] if match else "body"
        raise ProblemError(422, "Invalid request", str(error), field=field) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ProblemError(400, "Malformed JSON", str(error), field="body") from error
