"""Where the analysis finds its data."""

from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """Read from the environment: SEGUE_POSTGRES_DSN."""

    model_config = SettingsConfigDict(env_prefix="SEGUE_")

    postgres_dsn: str = "postgresql://postgres@127.0.0.1:5432/segue"
