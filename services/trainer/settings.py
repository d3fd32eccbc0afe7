"""The trainer's settings, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from services.trainer.core.schedule import parse_schedule
from services.trainer.train_request import TrainRequest
from shared.exposure import EdgeSettings

Count = Annotated[int, Field(ge=1)]
Duration = Annotated[float, Field(gt=0)]


class Settings(EdgeSettings):
    """`SEGUE_TRAINER_*`, and variables shared by every service."""

    model_config = SettingsConfigDict(env_prefix="SEGUE_TRAINER_", populate_by_name=True)

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="SEGUE_REDIS_URL")
    postgres_dsn: str = Field(
        "postgresql://postgres@127.0.0.1:5432/segue", validation_alias="SEGUE_POSTGRES_DSN"
    )

    host: str = "127.0.0.1"
    port: int = Field(5002, ge=0, le=65535)

    folder: Path = Field(
        Path(".segue/trainer"), description="For checkpoints, artifacts, what was not published."
    )
    keep_jobs: Count = Field(20, description="Whose artifacts stay in the folder.")
    keep_checkpoints: Count = Field(3, description="Of jobs that did not succeed.")
    map_tracks: Annotated[int, Field(ge=0, le=10_000)] = Field(
        1000, description="In a job's map of its embeddings: time grows with them; 0 draws none."
    )
    schedule: str | None = Field(None, description="'03:30', daily at that UTC time; '6h', '30m'.")
    schedule_parameters: TrainRequest = Field(
        default_factory=TrainRequest, description="JSON, as the body of POST /train."
    )
    heartbeat_s: Duration = Field(15, description="Between signs of life on a silent event stream.")
    keep_versions: Count = Field(5, description="That Redis keeps, besides the active one.")
    publish_attempts: Count = Field(5, description="Before a publication is given up.")
    publish_wait_s: Duration = Field(1, description="Before the second attempt; then doubled.")
    redis_timeout_s: Duration = Field(30, description="Of one command.")
    refresh_interval_s: Duration = Field(15, description="Of the metrics about the active model.")

    @field_validator("schedule")
    @classmethod
    def check_schedule(cls, text: str | None) -> str | None:
        """Refuse a schedule that cannot be read."""
        if text is not None:
            parse_schedule(text)
        return text
