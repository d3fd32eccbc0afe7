"""Where the analysis finds its data."""

from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict

from shared.settings import PostgresSettings, RedisSettings


class Settings(PostgresSettings, RedisSettings):
    """Read from the environment: SEGUE_POSTGRES_DSN, and what other commands name.

    Attributes:
        postgres_dsn: Of the log.
        redis_url: Of model versions.
        logger_url: Of the logger, which stores what is imported.
        api_token: That it asks for, if it does.
    """

    model_config = SettingsConfigDict(env_prefix="SEGUE_")

    logger_url: str = "http://127.0.0.1:5003"
    api_token: SecretStr | None = None
