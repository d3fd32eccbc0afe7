"""Where the analysis finds its data."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment: SEGUE_POSTGRES_DSN, and what other commands name.

    Attributes:
        postgres_dsn: Of the log.
        redis_url: Of model versions.
    """

    model_config = SettingsConfigDict(env_prefix="SEGUE_")

    postgres_dsn: str = "postgresql://postgres@127.0.0.1:5432/segue"
    redis_url: str = "redis://127.0.0.1:6379/0"
