"""Settings of a service's edge: how it logs, and who may change its state."""

import re
from typing import Any

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings

from shared.logs import LogFormat
from shared.origin import is_loopback

_TOKEN = re.compile(r"[!-~]{16,}")


class ExposedError(ValueError):
    """A service that anybody could tell what to do; the message says how to mend it."""


class EdgeSettings(BaseSettings):
    """Read from `SEGUE_*`, the same for every service."""

    log_level: str = Field("INFO", validation_alias="SEGUE_LOG_LEVEL")
    log_format: LogFormat = Field(
        "text", validation_alias="SEGUE_LOG_FORMAT", description="`text`, or `json` for programs."
    )
    api_token: SecretStr | None = Field(
        None,
        validation_alias="SEGUE_API_TOKEN",
        description="Bearer token of every request that changes state.",
    )
    allow_no_token: bool = Field(
        False,
        validation_alias="SEGUE_ALLOW_NO_TOKEN",
        description="Start without one, though others can reach the service.",
    )

    @field_validator("api_token", mode="before")
    @classmethod
    def _read_empty_as_none(cls, value: Any) -> Any:
        return None if value == "" else value

    @field_validator("api_token")
    @classmethod
    def _check_token(cls, token: SecretStr | None) -> SecretStr | None:
        if token is not None and not _TOKEN.fullmatch(token.get_secret_value()):
            raise ValueError("a token is 16 printable ASCII characters or more, without spaces")
        return token

    def check_exposure(self, host: str) -> None:
        """Refuse to listen where others can reach, if nothing asks them for a token.

        Raises:
            ExposedError: If there is no token, and none was wanted on purpose.
        """
        if self.api_token is None and not self.allow_no_token and not is_loopback(host):
            raise ExposedError(
                f"others can reach {host}, and SEGUE_API_TOKEN is not set: anybody could train, "
                "activate or feed events. Set it to a secret of 16 characters or more, listen on "
                "127.0.0.1, or set SEGUE_ALLOW_NO_TOKEN=1 if something else keeps strangers out."
            )


def make_authorization(token: SecretStr | None) -> dict[str, str]:
    """Return the headers that carry a token; none without one."""
    return {} if token is None else {"Authorization": f"Bearer {token.get_secret_value()}"}
