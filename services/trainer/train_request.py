"""What `POST /train`, a schedule and the command line may say of a training."""

from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator

from services.trainer.core.parameters import DEFAULT_DIMS, RecipeName, TrainingParameters
from services.trainer.core.promotion import Promote


class TrainRequest(BaseModel):
    """The body of `POST /train`; `TrainingParameters` documents the fields."""

    model_config = ConfigDict(extra="forbid", strict=True)

    recipe: RecipeName = "artist_concat"
    dim: Annotated[int | None, Field(ge=1, le=256)] = None  # by the recipe
    epochs: Annotated[int, Field(ge=1, le=200)] = TrainingParameters.epochs
    learning_rate: Annotated[float, Field(gt=0, le=1)] = TrainingParameters.learning_rate
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] = TrainingParameters.batch_size
    neighbours: Annotated[int, Field(ge=1, le=500)] = TrainingParameters.neighbours
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = TrainingParameters.seed
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
        if self.held_out == 0 and self.recipe != "session":
            raise ValueError(f"held_out must be above 0: {self.recipe} chooses its epoch there")
        if self.held_out == 0 and self.promote == "auto":
            raise ValueError("promote auto needs held-out sessions: held_out must be above 0")
        return self

    def to_parameters(self) -> TrainingParameters:
        """Return them as the core takes them."""
        dim = DEFAULT_DIMS[self.recipe] if self.dim is None else self.dim
        return TrainingParameters(**(self.model_dump() | {"dim": dim}))
