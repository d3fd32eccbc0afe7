"""Settings of the simulator: a YAML file, environment variables over it."""

from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from simulator.core.listeners import ListenerDefaults

_URL = r"^https?://[^/]+"
DEFAULT_CONFIG = Path("deploy/simulator.yaml")


class SettingsError(ValueError):
    """Settings that cannot be used; the message names the file, the key and the fault."""


class _Section(BaseModel, extra="forbid"):
    """A part of the file."""


class RecommenderSettings(_Section):
    """The live recommender: its URL, the limit of one request, how long to wait if it is away."""

    url: str = Field(default="http://127.0.0.1:5001", pattern=_URL)
    timeout_s: float = Field(default=5.0, gt=0)
    patience_s: float = Field(default=60.0, ge=0)


class LoggerSettings(_Section):
    """Who stores what the recommender answers; asked whether it has before a training."""

    url: str = Field(default="http://127.0.0.1:5003", pattern=_URL)


class TrainerSettings(_Section):
    """Who trains between days, and how long the others may take to follow."""

    url: str = Field(default="http://127.0.0.1:5002", pattern=_URL)
    follow_s: float = Field(default=120.0, gt=0)


class DecisionSettings(_Section):
    """Who says whether an experiment is decided.

    `{experiment}`, `{metric}`, `{alpha}` and `{since}` are filled in.

    Attributes:
        url: Answers an analysis as JSON; None asks the command.
        command: Prints one; empty is `python -m analysis`.
        metric: That decides.
    """

    url: str | None = Field(default=None, pattern=_URL)
    command: tuple[str, ...] = ()
    metric: str = "mean_time_per_session"


class ListenerSettings(_Section):
    """What a user's line in `users.json` leaves open; botify's defaults."""

    interest_neighbours: int = Field(default=10, ge=1)
    consume_bias: float = 5.0
    consume_sharpness: float = 1.0
    session_budget: int = Field(default=5, ge=1)
    artist_discount_gamma: float = Field(default=0.8, ge=0, le=1)

    def to_defaults(self) -> ListenerDefaults:
        """Hand them to the core."""
        return ListenerDefaults(**self.model_dump())


class Settings(BaseSettings):
    """All settings; `SEGUE_SIMULATOR_WORLD`, `SEGUE_SIMULATOR_RECOMMENDER__URL`, ... override.

    The token that the logger and the trainer ask for is `SEGUE_API_TOKEN`, never in the file.
    """

    model_config = SettingsConfigDict(
        env_prefix="SEGUE_SIMULATOR_", env_nested_delimiter="__", extra="forbid"
    )

    api_token: SecretStr | None = Field(None, validation_alias="SEGUE_API_TOKEN")
    world: Path = Path(".segue/world")
    recommender: RecommenderSettings = RecommenderSettings()
    logger: LoggerSettings = LoggerSettings()
    trainer: TrainerSettings = TrainerSettings()
    decision: DecisionSettings = DecisionSettings()
    listener: ListenerSettings = ListenerSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Put the environment before the file, whose values arrive as arguments."""
        return env_settings, init_settings


def load_settings(path: Path | None = None) -> Settings:
    """Read settings.

    Args:
        path: The file; by default `deploy/simulator.yaml`, if there is one.

    Raises:
        SettingsError: If the file is absent or no mapping, or a key is unknown or bad.
    """
    where = path or DEFAULT_CONFIG
    values: dict[str, Any] = {}
    if path is not None or where.exists():
        values = _read_yaml(where)
    try:
        return Settings(**values)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc']))}: {_explain(fault['type'], fault['msg'])}"
            for fault in error.errors()
        )
        raise SettingsError(f"{where}: {faults}") from error


def _explain(kind: str, message: str) -> str:
    return "unknown key" if kind == "extra_forbidden" else message


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(path.read_text()) or {}
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: {error}") from error
    if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
        raise SettingsError(f"{path}: not a mapping of settings")
    return values
