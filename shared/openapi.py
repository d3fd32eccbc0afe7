"""What every service's OpenAPI document says of its problems."""

from typing import Any

import msgspec
from fastapi import FastAPI

from shared.http import MEDIA_TYPE

Json = dict[str, Any]

METHODS = frozenset({"get", "put", "post", "delete", "patch"})
SAFE_METHODS = frozenset({"get"})
TITLES = {
    400: "The request cannot be read.",
    401: "The token is missing or wrong.",
    403: "A page of another site may not do this.",
    404: "There is no such thing.",
    408: "The body took too long.",
    409: "The state does not allow it.",
    413: "The body is too large.",
    415: "The body is of another type.",
    422: "A field is not what it should be.",
    429: "Too many requests are being answered; retry a second later.",
    503: "Something that is needed does not answer; retry.",
}
_OF_THE_EDGE = {429}
_OF_THE_EDGE_WITH_A_BODY = {403, 413}


class Problem(msgspec.Struct):
    """RFC 9457 problem details; `field` names the input at fault."""

    type: str
    title: str
    status: int
    detail: str
    field: str | None = None


PROBLEM_SCHEMA: Json = msgspec.json.schema(Problem)["$defs"]["Problem"]


def problems(*statuses: int) -> dict[int | str, Json]:
    """Return the `responses` of a route that may answer with these problems."""
    return {status: describe_problem(status) for status in statuses}


def describe_problem(status: int, description: str | None = None) -> Json:
    """Describe one problem."""
    content = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
    return {"description": description or TITLES[status], "content": content}


def document_problems(app: FastAPI) -> None:
    """Say in the document what the edge answers of itself, and in which form faults are told."""
    describe = app.openapi

    def describe_with_problems() -> Json:
        document = describe()
        for path in document["paths"].values():
            for method in METHODS & path.keys():
                _add_problems(path[method], is_safe=method in SAFE_METHODS)
        schemas = document.get("components", {}).get("schemas", {})
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        return document

    app.openapi = describe_with_problems  # type: ignore[method-assign]  # FastAPI's way


def _add_problems(operation: Json, *, is_safe: bool) -> None:
    responses = operation["responses"]
    for status in _OF_THE_EDGE | (set() if is_safe else _OF_THE_EDGE_WITH_A_BODY):
        responses.setdefault(str(status), describe_problem(status))
    if "422" in responses:
        responses["422"]["content"] = {MEDIA_TYPE: {"schema": PROBLEM_SCHEMA}}
        if responses["422"]["description"] == "Validation Error":
            responses["422"]["description"] = TITLES[422]
    operation["responses"] = dict(sorted(responses.items()))
