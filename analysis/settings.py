"""Where the analysis finds its data."""

from shared.settings import PostgresSettings


class Settings(PostgresSettings):
    """Read from the environment: `SEGUE_POSTGRES_DSN`, `SEGUE_POSTGRES_PASSWORD`."""
