"""The logger's settings, from the environment."""

from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.exposure import EdgeSettings
from shared.settings import PostgresSettings, RedisSettings

Count = Annotated[int, Field(ge=1)]
Duration = Annotated[float, Field(gt=0)]


class Settings(EdgeSettings, RedisSettings, PostgresSettings):
    """`SEGUE_LOGGER_*`, and what services share."""

    model_config = SettingsConfigDict(env_prefix="SEGUE_LOGGER_", populate_by_name=True)

    host: str = "127.0.0.1"
    port: int = Field(5003, ge=0, le=65535)

    redis_timeout_s: Duration = Field(5, description="Of one answer; a silent Redis is left.")
    postgres_wait_s: Duration = Field(60, description="How long to wait for Postgres at the start.")
    postgres_connections: Count = Field(5, description="The largest number at once.")

    batch_size: Count = Field(2000, description="Commit at that many entries of the stream.")
    batch_wait_s: Duration = Field(0.2, description="Commit when the first has waited so long.")
    claim_idle_s: Duration = Field(15, description="When a consumer's entries are taken over.")
    maintenance_interval_s: Duration = Field(5, description="Of claims, trimming and lag.")
    forget_consumer_s: Duration = Field(600, description="When an idle consumer is removed.")
    catalog_interval_s: Duration = Field(30, description="Of looks for another catalogue.")
    definitions_interval_s: Duration = Field(5, description="Of looks for other definitions.")
    refresh_interval_s: Duration = Field(60, description="Of refreshes of the days of listening.")
    behind_after: Count = Field(100_000, description="Undelivered entries that mean not ready.")

    stop_s: Duration = Field(8, description="For the batch in hand, when told to stop.")

    max_body_bytes: Count = Field(32 * 1024 * 1024, description="Of POST /events, decompressed.")
    body_timeout_s: Duration = Field(60, description="For a body to arrive.")
    concurrent_bodies: Count = Field(2, description="Bodies held in memory at once.")
    max_in_flight: Count = Field(200, description="Requests being answered at once; more get 429.")
