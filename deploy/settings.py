"""Settings of the demonstration and its world, the same however the stack runs."""

from pathlib import Path

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from deploy.commands import ROOT


class DemoSettings(BaseSettings):
    """Read from `SEGUE_DEMO_*` and `.env`.

    Attributes:
        api_token: That the services ask for, if any.
        tracks: Of the world that is made if there is none.
        sessions: Of the history before the first training.
        episodes: Of the live experiment.
        training_timeout_s: For the training job.
        lag_timeout_s: For the logger to store what the experiment left.
        recommender_url, trainer_url, logger_url: The services.
        world: Folder of the world.
        logs: Folder for the commands' output.
    """

    model_config = SettingsConfigDict(
        env_prefix="SEGUE_DEMO_", env_file=ROOT / ".env", extra="ignore", populate_by_name=True
    )

    api_token: SecretStr | None = Field(None, validation_alias="SEGUE_API_TOKEN")
    tracks: int = Field(50_000, gt=0)
    sessions: int = Field(100_000, gt=0)
    episodes: int = Field(2_000, gt=0)
    training_timeout_s: float = Field(1_800, gt=0)
    lag_timeout_s: float = Field(120, gt=0)
    recommender_url: str = "http://127.0.0.1:5001"
    trainer_url: str = "http://127.0.0.1:5002"
    logger_url: str = "http://127.0.0.1:5003"
    world: Path = Path(".segue/world")
    logs: Path = Path(".segue/logs")
