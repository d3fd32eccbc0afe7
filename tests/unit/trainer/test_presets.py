"""Presets are configurations of the one trainer."""

import pytest
from pydantic import ValidationError

from services.trainer.core.parameters import TrainingParameters
from services.trainer.core.presets import PRESETS, PresetName, make_parameters
from services.trainer.train_request import TrainRequest


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_is_what_a_request_for_it_trains(preset: PresetName) -> None:
    parameters = TrainRequest.model_validate({"preset": preset}).to_parameters()
    assert parameters == make_parameters(preset)
    for name, value in PRESETS[preset].items():
        assert getattr(parameters, name) == value


def test_what_is_given_goes_before_the_preset_and_the_preset_before_the_defaults() -> None:
    request = TrainRequest.model_validate({"preset": "enriched_uniform", "dim": 8, "negatives": 0})
    parameters = request.to_parameters()
    assert (parameters.dim, parameters.negatives) == (8, 0)
    assert parameters.batch_size == PRESETS["enriched_uniform"]["batch_size"]
    assert parameters.batch_size != TrainingParameters.batch_size
    assert parameters.clusters == TrainingParameters.clusters


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"preset": "published_track_only", "recipe": "session"}, "a preset names its recipe"),
        ({"recipe": "session", "negatives": 3}, "session has none"),
        ({"recipe": "track_only", "neighbours_by": "track_half"}, "only artist_concat"),
        ({"preset": "published_track_only", "neighbours_by": "track_half"}, "only artist_concat"),
    ],
)
def test_what_a_recipe_does_not_have_is_refused(body: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TrainRequest.model_validate(body)
