"""Settings from the environment: secrets from files, addresses, and how a fault is told."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_core import InitErrorDetails, PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource

from shared.redis_place import parse_redis_url

_SUFFIX = "_FILE"
_MAX_SECRET_BYTES = 64 * 1024


def describe_invalid_settings(error: ValidationError) -> str:
    """Return one line a fault: the setting and what is wrong with it."""
    return "\n".join(
        f"setting {'.'.join(str(part) for part in fault['loc'])}: {fault['msg']}"
        for fault in error.errors()
    )


class EnvironmentSettings(BaseSettings):
    """Settings of which each may also stand in a file: `SEGUE_X_FILE` names what holds `SEGUE_X`.

    Orchestrators mount secrets as files, and an environment is shown to whoever may inspect a
    container.
    """

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read the files too; a variable and its file at once are a fault."""
        own = FileSource(settings_cls), VariableSource(settings_cls)
        return init_settings, *own, dotenv_settings


class RedisSettings(EnvironmentSettings):
    """Where Redis is; `SEGUE_REDIS_PASSWORD` goes into the URL.

    `rediss://` speaks TLS; `?ssl_ca_certs=/path` names the authority that signed its certificate.
    `redis+cluster://` is that of `redis_place`.
    """

    redis_url: str = Field("redis://127.0.0.1:6379/0", validation_alias="SEGUE_REDIS_URL")
    redis_password: SecretStr | None = Field(None, validation_alias="SEGUE_REDIS_PASSWORD")

    @field_validator("redis_url")
    @classmethod
    def _check_redis_url(cls, url: str) -> str:
        schemes = ("redis", "rediss", "redis+cluster", "rediss+cluster")
        url = _with_scheme(url, {scheme: scheme for scheme in schemes})
        _check_file(url, "ssl_ca_certs")
        parse_redis_url(url)
        return url

    @model_validator(mode="after")
    def _put_redis_password(self) -> Self:
        self.redis_url = _with_password(self.redis_url, self.redis_password)
        return self


class PostgresSettings(EnvironmentSettings):
    """Where Postgres is; `SEGUE_POSTGRES_PASSWORD` goes into the address.

    `?sslmode=verify-full&sslrootcert=/path` asks for TLS. SQLAlchemy's spelling
    (`postgresql+asyncpg://`, `?ssl=`) is understood too.
    """

    postgres_dsn: str = Field(
        "postgresql://postgres@127.0.0.1:5432/segue", validation_alias="SEGUE_POSTGRES_DSN"
    )
    postgres_password: SecretStr | None = Field(None, validation_alias="SEGUE_POSTGRES_PASSWORD")

    @field_validator("postgres_dsn")
    @classmethod
    def _check_postgres_dsn(cls, dsn: str) -> str:
        schemes = dict.fromkeys(("postgres", "postgresql", "postgresql+asyncpg"), "postgresql")
        parts = urlsplit(_with_scheme(dsn, schemes))
        query = [
            ("sslmode" if key == "ssl" else key, "require" if value == "true" else value)
            for key, value in parse_qsl(parts.query, keep_blank_values=True)
        ]
        dsn = urlunsplit(parts._replace(query=urlencode(query, safe="/:")))
        _check_file(dsn, "sslrootcert")
        return dsn

    @model_validator(mode="after")
    def _put_postgres_password(self) -> Self:
        self.postgres_dsn = _with_password(self.postgres_dsn, self.postgres_password)
        return self


class VariableSource(EnvSettingsSource):
    """The environment; text that should be JSON and is not is left to its field to refuse."""

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """Decode what is JSON."""
        try:
            return super().decode_complex_value(field_name, field, value)
        except ValueError:
            return value


class FileSource(VariableSource):
    """The environment's `*_FILE` variables, as if what the files hold stood in it."""

    def _load_env_vars(self) -> Mapping[str, str | None]:
        loaded = super()._load_env_vars()
        known = {name.lower() for names in self._names() for name in names}
        read: dict[str, str | None] = {}
        for variable, path in os.environ.items():
            name = variable.removesuffix(_SUFFIX)
            if name == variable or name.lower() not in known or not path:
                continue
            if loaded.get(name.lower()):
                raise _fault(variable, f"{name} is set as well: set one of them", path)
            read[name.lower()] = _read_secret(variable, path)
        return read

    def _names(self) -> list[list[str]]:
        fields = self.settings_cls.model_fields.items()
        return [
            [name for _, name, _ in self._extract_field_info(field, key)] for key, field in fields
        ]


def _read_secret(variable: str, path: str) -> str:
    """Read a file's text, less what ends its last line."""
    try:
        with Path(path).open("rb") as file:
            content = file.read(_MAX_SECRET_BYTES + 1)
        if len(content) > _MAX_SECRET_BYTES:
            raise _fault(variable, f"{path} is over {_MAX_SECRET_BYTES} bytes", path)
        text = content.decode().rstrip("\r\n")
    except OSError as error:
        raise _fault(variable, f"{path}: {error.strerror}", path) from error
    except UnicodeDecodeError as error:
        raise _fault(variable, f"{path} is not text", path) from error
    if not text:
        raise _fault(variable, f"{path} is empty", path)
    return text


def _fault(variable: str, message: str, path: str) -> ValidationError:
    kind = PydanticCustomError("secret_file", "{message}", {"message": message})
    detail = InitErrorDetails(type=kind, loc=(variable,), input=path)
    return ValidationError.from_exception_data("settings", [detail])


def _with_scheme(url: str, schemes: Mapping[str, str]) -> str:
    parts = urlsplit(url)
    if parts.scheme not in schemes:
        raise ValueError(f"starts with none of {', '.join(f'{name}://' for name in schemes)}")
    return urlunsplit(parts._replace(scheme=schemes[parts.scheme]))


def _check_file(url: str, key: str) -> None:
    path = dict(parse_qsl(urlsplit(url).query)).get(key)
    if path is not None and not os.access(path, os.R_OK):
        raise ValueError(f"{key}: {path} cannot be read")


def _with_password(url: str, password: SecretStr | None) -> str:
    """Put a password into a URL.

    Raises:
        ValueError: If it has another already.
    """
    if password is None:
        return url
    parts = urlsplit(url)
    user, at, host = parts.netloc.rpartition("@")
    if ":" in user:
        raise ValueError("the address holds a password, and another is set: set one of them")
    secret = quote(password.get_secret_value(), safe="")
    netloc = f"{user if at else ''}:{secret}@{host}"
    return urlunsplit(parts._replace(netloc=netloc))
