"""What `POST /train`, a schedule and the command line may say of a training."""

import re
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from services.trainer.core.parameters import (
    Engine,
    NegativesFrom,
    NeighboursBy,
    RecipeName,
    TrainingParameters,
)
from services.trainer.core.presets import PresetName, make_parameters
from services.trainer.core.promotion import Promote

_ATTRIBUTE = re.compile(r"^ {8}(\w+(?:, \w+)*): (.*(?:\n {12}.*)*)", re.MULTILINE)


def _describe_fields(schema: dict[str, Any]) -> None:
    """Let the schema say of each field what the docstring of `TrainingParameters` says."""
    for names, text in _ATTRIBUTE.findall(TrainingParameters.__doc__ or ""):
        for name in names.split(", "):
            schema["properties"][name]["description"] = " ".join(text.split())


class TrainRequest(BaseModel):
    """The body of `POST /train`; `TrainingParameters` documents the fields.

    A preset stands for the fields that are not said.
    """

    model_config = ConfigDict(extra="forbid", strict=True, json_schema_extra=_describe_fields)

    preset: Annotated[
        PresetName | None,
        Field(description="A published recipe, in place of `recipe`; other fields change it."),
    ] = None
    recipe: RecipeName = TrainingParameters.recipe
    dim: Annotated[int | None, Field(ge=1, le=256)] = None  # by the recipe
    epochs: Annotated[int, Field(ge=1, le=200)] = TrainingParameters.epochs
    learning_rate: Annotated[float, Field(gt=0, le=1)] = TrainingParameters.learning_rate
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = TrainingParameters.batch_size
    neighbours: Annotated[int, Field(ge=1, le=500)] = TrainingParameters.neighbours
    neighbours_by: NeighboursBy = TrainingParameters.neighbours_by
    initial_scale: Annotated[float, Field(gt=0, le=1)] = TrainingParameters.initial_scale
    negatives: Annotated[int, Field(ge=0, le=1000)] = TrainingParameters.negatives
    negatives_from: NegativesFrom = TrainingParameters.negatives_from
    clusters: Annotated[int, Field(ge=2, le=1000)] = TrainingParameters.clusters
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = TrainingParameters.seed
    engine: Engine = TrainingParameters.engine
    source: Annotated[str, Field(min_length=1, max_length=1000)] = TrainingParameters.source
    since: Annotated[AwareDatetime | None, Field(strict=False)] = None
    until: Annotated[AwareDatetime | None, Field(strict=False)] = None
    window_days: Annotated[float | None, Field(gt=0, le=36_500)] = None
    held_out: Annotated[float, Field(ge=0, le=0.5)] = TrainingParameters.held_out
    warm_start: bool = TrainingParameters.warm_start
    promote: Promote = TrainingParameters.promote

    @model_validator(mode="after")
    def check_window(self) -> "TrainRequest":
        """Refuse a window that ends before it begins, or begins twice."""
        if self.since is not None and self.until is not None and self.since >= self.until:
            raise ValueError("since must be before until")
        if self.since is not None and self.window_days is not None:
            raise ValueError("since and window_days both say where the window begins: give one")
        return self

    @model_validator(mode="after")
    def check_held_out(self) -> "TrainRequest":
        """Refuse to choose an epoch, or whether to promote, on no sessions."""
        recipe = self.to_parameters().recipe
        if self.held_out == 0 and recipe != "session":
            raise ValueError(f"held_out must be above 0: {recipe} chooses its epoch there")
        if self.held_out == 0 and self.promote == "auto":
            raise ValueError("promote auto needs held-out sessions: held_out must be above 0")
        return self

    @model_validator(mode="after")
    def check_recipe(self) -> "TrainRequest":
        """Refuse what the recipe does not have."""
        if self.preset is not None and "recipe" in self.model_fields_set:
            raise ValueError("a preset names its recipe: give one or the other")
        parameters = self.to_parameters()
        if parameters.negatives and parameters.recipe == "session":
            raise ValueError("negatives enrich the pairs of a first track: session has none")
        if parameters.neighbours_by == "track_half" and parameters.recipe != "artist_concat":
            raise ValueError("neighbours_by: only artist_concat has a track half and another")
        return self

    def to_parameters(self) -> TrainingParameters:
        """Return them as the core takes them."""
        given = self.model_dump(exclude_unset=True, exclude={"preset"})
        return make_parameters(self.preset, **given)
