"""The dashboard's settings, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.exposure import EdgeSettings

Duration = Annotated[float, Field(gt=0)]


class Settings(EdgeSettings):
    """`SEGUE_DASHBOARD_*`, and variables shared by every service."""

    model_config = SettingsConfigDict(env_prefix="SEGUE_DASHBOARD_", populate_by_name=True)

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="SEGUE_REDIS_URL")
    postgres_dsn: str = Field(
        "postgresql://postgres@127.0.0.1:5432/segue", validation_alias="SEGUE_POSTGRES_DSN"
    )

    host: str = "127.0.0.1"
    port: int = Field(5004, ge=0, le=65535)
    allowed_hosts: tuple[str, ...] = Field(
        ("127.0.0.1", "localhost", "dashboard"),
        description="Names that a browser may call it by; others are refused.",
    )

    recommender_url: str = "http://127.0.0.1:5001"
    trainer_url: str = "http://127.0.0.1:5002"
    logger_url: str = "http://127.0.0.1:5003"
    experiments: Path = Field(Path("deploy/experiments.yaml"), description="Definitions, YAML.")

    request_timeout_s: Duration = Field(5, description="Of one call to another service.")
    fresh_s: Duration = Field(5, description="Results are computed again when they are older.")
    patience_s: Duration = Field(0.2, description="A page waits so long for results, then says so.")
    listening_timeout_s: Duration = Field(
        1800, description="Without a track, a listener here is forgotten; as in the recommender."
    )
