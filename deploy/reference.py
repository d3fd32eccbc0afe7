"""`python -m deploy.reference`: write the HTTP reference from what the services say of themselves.

A page of Markdown for each service's OpenAPI document.
"""

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
from fastapi import FastAPI

from deploy.commands import ROOT
from services.dashboard.app import create_app as create_dashboard
from services.dashboard.settings import Settings as DashboardSettings
from services.logger.app import create_app as create_logger
from services.logger.settings import Settings as LoggerSettings
from services.recommender.app import create_app as create_recommender
from services.recommender.settings import Settings as RecommenderSettings
from services.trainer.app import create_app as create_trainer
from services.trainer.settings import Settings as TrainerSettings
from shared.catalog import Track, make_catalog

FOLDER = ROOT / "docs" / "http"
EXPERIMENTS = ROOT / "deploy" / "experiments.yaml"
METHODS = ("get", "post", "put", "patch", "delete")

_ATTRIBUTE = re.compile(r" {8}(\w+(?:, \w+)*): (.*)")

Json = Mapping[str, Any]


def create_services() -> dict[str, FastAPI]:
    """Create the services, unopened: what they answer does not depend on their settings."""
    with tempfile.TemporaryDirectory() as folder:
        catalog = Path(folder) / "tracks.json"
        catalog.write_bytes(make_catalog([Track(1, "artist", "title")]).to_json_lines())
        recommender = create_recommender(
            RecommenderSettings(catalog=catalog, experiments=EXPERIMENTS, spool=None)
        )
    return {
        "recommender": recommender,
        "trainer": create_trainer(TrainerSettings()),
        "logger": create_logger(LoggerSettings()),
        "dashboard": create_dashboard(DashboardSettings()),
    }


def fetch_documents() -> dict[str, Json]:
    """Ask each service for its OpenAPI document."""
    return {name: app.openapi() for name, app in create_services().items()}


def make_page(name: str, document: Json) -> str:
    """Write a service's page."""
    lines = [
        f"# {document['info']['title']}",
        "",
        f"Written by `python -m deploy.reference` from the {name}'s OpenAPI document, which it",
        "serves at `/openapi.json`, and as a page to try it out at `/docs`. Errors are RFC 9457",
        "problem details (`application/problem+json`): `type`, `title`, `status`, `detail`, and",
        "`field` where an input is at fault.",
    ]
    for path, operations in sorted(document["paths"].items(), key=_is_operational):
        for method in METHODS:
            if method in operations:
                lines += ["", f"## {method.upper()} {path}", ""]
                lines += _describe_operation(operations[method], document)
    return "\n".join(lines) + "\n"


def write_pages(folder: Path) -> None:
    """Write all pages."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, document in fetch_documents().items():
        (folder / f"{name}.md").write_text(make_page(name, document))


def _describe_operation(operation: Json, document: Json) -> Iterator[str]:
    yield operation.get("description") or operation.get("summary", "")
    parameters = [_resolve(each, document) for each in operation.get("parameters", ())]
    if parameters:
        yield from ("", "| parameter | in | type | means |", "|---|---|---|---|")
        for each in parameters:
            kind = _describe_type(each.get("schema", {}), document)
            yield f"| `{each['name']}` | {each['in']} | {kind} | {_text(each)} |"
    for media_type, content in operation.get("requestBody", {}).get("content", {}).items():
        yield from ("", f"Body, `{media_type}`:")
        yield from _describe_fields(content.get("schema", {}), document)
    yield from ("", "| status | body | means |", "|---|---|---|")
    for status, response in operation.get("responses", {}).items():
        bodies = ", ".join(f"`{kind}`" for kind in response.get("content", {}))
        yield f"| {status} | {bodies} | {_text(response)} |"
    yield from _describe_answer(operation, document)


def _describe_answer(operation: Json, document: Json) -> Iterator[str]:
    contents = operation.get("responses", {}).get("200", {}).get("content", {})
    for media_type, content in contents.items():
        lines = list(_describe_fields(content.get("schema", {}), document))
        if lines:
            yield from ("", f"Answer, `{media_type}`:", *lines)


def _describe_fields(schema: Json, document: Json) -> Iterator[str]:
    """Tabulate an object's fields; whatever has none is not described."""
    described = _find_object(schema, document)
    fields = described.get("properties", {})
    if not fields:
        return
    required, meanings = described.get("required", ()), _read_attributes(described)
    yield from ("", "| field | type | default | means |", "|---|---|---|---|")
    for name, field in fields.items():
        default = "required" if name in required else f"`{_show(field.get('default'))}`"
        means = _text(field) or meanings.get(name, "")
        yield f"| `{name}` | {_describe_type(field, document)} | {default} | {means} |"


def _read_attributes(schema: Json) -> dict[str, str]:
    """Read what a docstring says of its attributes, by name."""
    _, _, section = str(schema.get("description", "")).partition("Attributes:\n")
    found: dict[str, str] = {}
    names: list[str] = []
    for line in section.splitlines():
        if match := _ATTRIBUTE.match(line):
            names = match[1].split(", ")
            found |= dict.fromkeys(names, match[2])
        else:
            found |= {name: f"{found[name]} {line.strip()}".strip() for name in names}
    return {name: text.replace("|", "\\|") for name, text in found.items()}


def _is_operational(path: tuple[str, Json]) -> bool:
    return path[0] == "/metrics" or path[0].startswith("/health")


def _find_object(schema: Json, document: Json) -> Json:
    schema = _resolve(schema, document)
    for choice in schema.get("anyOf", ()):
        if found := _find_object(choice, document):
            return found
    return schema if "properties" in schema else {}


def _describe_type(schema: Json, document: Json) -> str:
    schema = _resolve(schema, document)
    if "anyOf" in schema:
        return " or ".join(_describe_type(choice, document) for choice in schema["anyOf"])
    if "enum" in schema:
        return ", ".join(f"`{_show(each)}`" for each in schema["enum"])
    words = [str(schema.get("format") or schema.get("type", "any"))]
    if schema.get("type") == "array":
        words.append(f"of {_describe_type(schema.get('items', {}), document)}")
    signs = {
        "minimum": "≥",
        "exclusiveMinimum": ">",
        "maximum": "≤",
        "exclusiveMaximum": "<",
    }
    limits = [f"{sign} {_show_number(schema[key])}" for key, sign in signs.items() if key in schema]
    return " ".join(words) + (f", {', '.join(limits)}" if limits else "")


def _resolve(schema: Json, document: Json) -> Json:
    while "$ref" in schema:
        found: Any = document
        for word in schema["$ref"].removeprefix("#/").split("/"):
            found = found[word]
        schema = found
    return schema


def _show(value: object) -> str:
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _show_number(value: float) -> str:
    return str(int(value)) if value == int(value) else str(value)


def _text(described: Json) -> str:
    return " ".join(str(described.get("description", "")).split()).replace("|", "\\|")


def main(words: Sequence[str]) -> int:
    """Write the pages."""
    parser = argparse.ArgumentParser(prog="python -m deploy.reference", description=__doc__)
    parser.add_argument(
        "folder", type=Path, nargs="?", default=FOLDER, help="to write to (docs/http)"
    )
    write_pages(parser.parse_args(words).folder)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
