"""The JSON schema of definitions, with what each recommender takes, for editors and programs."""

from typing import Any

import msgspec

from services.recommender.core.policies import RECOMMENDERS
from shared.experiments import ExperimentSet

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def make_schema() -> dict[str, Any]:
    """Make the schema of a file of definitions.

    It says what types can say; `python -m services.recommender check` knows the other rules too.
    """
    schema = msgspec.json.schema(ExperimentSet)
    types = msgspec.json.schema_components(RECOMMENDERS.values(), ref_template="#/$defs/{name}")
    references, definitions = types
    treatment = schema["$defs"]["Treatment"]
    treatment["properties"]["recommender"] = {
        "anyOf": [{"enum": list(RECOMMENDERS)}, {"type": "null"}],
        "default": None,
    }
    treatment["allOf"] = [
        {
            "if": {"properties": {"recommender": {"const": name}}, "required": ["recommender"]},
            "then": {"properties": {"parameters": reference}},
        }
        for name, reference in zip(RECOMMENDERS, references, strict=True)
    ]
    schema["$defs"] |= definitions
    return {"$schema": DIALECT, "title": "Segue's experiments", **schema}


def write_schema() -> str:
    """Write the schema as it is published."""
    text: bytes = msgspec.json.format(msgspec.json.encode(make_schema()), indent=2)
    return text.decode() + "\n"
