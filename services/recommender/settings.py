"""Settings of the recommender, from the environment."""

from pathlib import Path
from typing import Annotated

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.exposure import EdgeSettings
from shared.settings import RedisSettings

Positive = Annotated[float, Field(gt=0)]


class Settings(EdgeSettings, RedisSettings):
    """Read from `SEGUE_RECOMMENDER_*`; what services share from `SEGUE_*`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on.
        workers: Processes that share the port.
        catalog: All tracks, as botify's `tracks.json`.
        experiments: Definitions, YAML.
        seed: Of every draw.
        session_timeout_s: A session ends by itself after that long without a request.
        deadline_s: What the session store may take per request.
        arrays: Folder where model versions' arrays are put, for all workers to read the same pages;
            without one, several workers make one that lives as long as they do.
        spool: Folder where commits wait while Redis does not answer, and sessions are served from
            memory; without one such requests are refused with 503.
        spool_bytes: Size at which they are refused all the same.
        rest_s: How long Redis is left alone after it failed, and a treatment's recommender after
            it was too slow.
        decision_s: CPU seconds that a treatment's decisions may take on average.
        poll_s: How often to look for another model version.
        announce_s: How often to look whether Redis still says what definitions are served by.
        max_in_flight: Requests being answered at once; more get 429.
        request_s: What a client may take to send a request; then it gets 408.
        idle_s: How long a connection may wait for its next request.
    """

    model_config = SettingsConfigDict(env_prefix="SEGUE_RECOMMENDER_", populate_by_name=True)

    host: str = "127.0.0.1"
    port: int = 5001
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    catalog: Path = Path(".segue/world/tracks.json")
    experiments: Path = Path("deploy/experiments.yaml")
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    session_timeout_s: Annotated[int, Field(ge=1)] = 1800
    deadline_s: Positive = 0.25
    arrays: Path | None = None
    spool: Path | None = None
    spool_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    rest_s: Positive = 1.0
    decision_s: Positive = 0.025
    poll_s: Positive = 0.5
    announce_s: Positive = 5.0
    max_in_flight: Annotated[int, Field(ge=1)] = 1000
    request_s: Positive = 10.0
    idle_s: Positive = 75.0
