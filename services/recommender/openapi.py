"""What the raw routes accept and answer, for OpenAPI; taken from the types that do the work."""

from typing import Any

import msgspec
from fastapi import FastAPI

from services.recommender.core.answers import Answer
from services.recommender.parsing import MAX_BODY, MAX_KEY, PlaybackBody
from shared.catalog import Track
from shared.events import MAX_ID
from shared.openapi import describe_problem

Json = dict[str, Any]


class Status(msgspec.Struct):
    """That the service answers."""

    status: str


_PROBLEMS = {
    "400": "The body is not JSON.",
    "403": "A page of another site may not report.",
    "404": "There is no such track.",
    "409": "The session has heard every track of the catalogue.",
    "413": f"The body is larger than {MAX_BODY} bytes.",
    "415": "The body is not declared as `application/json`.",
    "422": "A field is not what it should be, or names an unknown track.",
    "429": "Too many requests are being answered; retry a second later.",
    "503": "The session store did not answer in time; retry with the same `Idempotency-Key`.",
}


def install_openapi(app: FastAPI) -> None:
    """Add the raw routes to the application's OpenAPI document."""
    describe_others = app.openapi

    def describe() -> Json:
        document = describe_others()
        document["paths"] |= {
            "/": {"get": _describe_status()},
            "/track/{track}": {"get": _describe_track()},
            "/next/{user}": {
                "post": _describe_report(
                    "next",
                    "Report a playback and get the next track; the first report opens a session.",
                    success="The recommendation.",
                    problems=("409",),
                )
            },
            "/last/{user}": {
                "post": _describe_report(
                    "last",
                    "Report a playback and close the session.",
                    success="The session is closed: no track.",
                )
            },
        }
        return document

    app.openapi = describe  # type: ignore[method-assign]  # FastAPI's documented way to extend it


def _describe_status() -> Json:
    return {
        "operationId": "status",
        "summary": "Answer that the service is alive.",
        "tags": ["botify"],
        "responses": {"200": _content(Status, "The service is alive.")},
    }


def _describe_track() -> Json:
    return {
        "operationId": "track",
        "summary": "Answer a track of the catalogue.",
        "tags": ["botify"],
        "parameters": [_id_parameter("track")],
        "responses": {"200": _content(Track, "The track."), **_problems("404", "422")},
    }


def _describe_report(
    name: str, summary: str, *, success: str, problems: tuple[str, ...] = ()
) -> Json:
    key = {
        "name": "Idempotency-Key",
        "in": "header",
        "required": False,
        "description": "Names the request; a retry gets the same answer and is counted once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": MAX_KEY},
    }
    explain = {
        "name": "explain",
        "in": "query",
        "required": False,
        "description": "1 adds `explanation`, why this track, to the answer.",
        "schema": {"type": "string", "enum": ["0", "1"], "default": "0"},
    }
    return {
        "operationId": name,
        "summary": summary,
        "tags": ["botify"],
        "parameters": [_id_parameter("user"), key, explain],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": _schema(PlaybackBody)}},
        },
        "responses": {
            "200": _content(Answer, success),
            **_problems("400", "403", "413", "415", "422", "429", "503", *problems),
        },
    }


def _id_parameter(name: str) -> Json:
    schema = {"type": "integer", "minimum": 0, "maximum": MAX_ID}
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _problems(*statuses: str) -> Json:
    return {s: describe_problem(int(s), _PROBLEMS[s]) for s in sorted(statuses)}


def _content(type_: type, description: str, media_type: str = "application/json") -> Json:
    return {"description": description, "content": {media_type: {"schema": _schema(type_)}}}


def _schema(type_: type) -> Json:
    """Return a type's JSON schema; none of ours refers to another."""
    schema: Json = msgspec.json.schema(type_)["$defs"][type_.__name__]
    return schema
