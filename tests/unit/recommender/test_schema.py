import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from services.recommender.core.policies import RECOMMENDERS
from services.recommender.core.schema import make_schema, write_schema

PUBLISHED = Path("deploy/experiments.schema.json")
DEPLOYED = yaml.safe_load(Path("deploy/experiments.yaml").read_bytes())


def is_valid(definitions: Any) -> bool:
    return bool(jsonschema.Draft202012Validator(make_schema()).is_valid(definitions))


def with_arm(**changes: Any) -> Any:
    definitions = copy.deepcopy(DEPLOYED)
    definitions["experiments"][0]["treatments"][1] |= changes
    return definitions


def test_the_published_schema_is_what_the_code_says() -> None:
    command = "python -m services.recommender schema"
    assert PUBLISHED.read_text() == write_schema(), f"{command} > {PUBLISHED}"


def test_the_schema_is_one_and_takes_what_is_deployed() -> None:
    jsonschema.Draft202012Validator.check_schema(make_schema())
    assert is_valid(DEPLOYED)
    assert is_valid(DEPLOYED | {"holdout": {"share": 0.05}, "serving": ["CONTEXTUAL"]})


@pytest.mark.parametrize("name", RECOMMENDERS)
def test_the_schema_knows_every_recommender(name: str) -> None:
    assert is_valid(with_arm(recommender=name, parameters={"max_per_artist": 2}))
    assert not is_valid(with_arm(recommender=name, parameters={"max_per_artist": 0}))
    assert not is_valid(with_arm(recommender=name, parameters={"wait": 1}))


@pytest.mark.parametrize("change", [{"recommender": "psychic"}, {"weight": 0}, {"wait": 1}])
def test_the_schema_refuses_what_the_service_refuses(change: dict[str, Any]) -> None:
    assert not is_valid(with_arm(**change))
