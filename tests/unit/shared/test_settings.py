"""Secrets come from files too, addresses are one dialect, and a fault names its variable."""

import ssl
from pathlib import Path

import asyncpg
import pytest
from pydantic import Field, ValidationError
from pydantic_settings import SettingsConfigDict
from redis.asyncio.connection import parse_url

from shared.settings import PostgresSettings, RedisSettings, describe_invalid_settings

ADDRESS = "postgresql://me@db:6543/segue"


class Settings(RedisSettings, PostgresSettings):
    """As a service has them."""

    model_config = SettingsConfigDict(env_prefix="SEGUE_TEST_", populate_by_name=True)

    size: int = Field(1, gt=0)
    names: tuple[str, ...] = ()


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text("s3cret/:@\n")
    return path


def read_fault() -> str:
    with pytest.raises(ValidationError) as caught:
        Settings()
    return describe_invalid_settings(caught.value)


def test_a_password_from_a_file_is_in_the_addresses(
    monkeypatch: pytest.MonkeyPatch, secret: Path
) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_DSN", ADDRESS)
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD_FILE", str(secret))
    monkeypatch.setenv("SEGUE_REDIS_URL", "redis://user@cache:7000/2")
    monkeypatch.setenv("SEGUE_REDIS_PASSWORD_FILE", str(secret))
    settings = Settings()
    assert settings.postgres_dsn == "postgresql://me:s3cret%2F%3A%40@db:6543/segue"
    redis = parse_url(settings.redis_url)
    assert (redis["username"], redis["password"], redis["db"]) == ("user", "s3cret/:@", 2)


def test_any_setting_may_stand_in_a_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "size").write_text("7\n")
    (tmp_path / "dsn").write_text(f"{ADDRESS}\r\n")
    monkeypatch.setenv("SEGUE_TEST_SIZE_FILE", str(tmp_path / "size"))
    monkeypatch.setenv("SEGUE_POSTGRES_DSN_FILE", str(tmp_path / "dsn"))
    settings = Settings()
    assert (settings.size, settings.postgres_dsn) == (7, ADDRESS)


def test_a_fault_in_a_file_is_that_of_the_setting(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "size").write_text("none")
    monkeypatch.setenv("SEGUE_TEST_SIZE_FILE", str(tmp_path / "size"))
    assert read_fault().startswith("setting size:")


def test_a_list_that_is_no_json_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_TEST_NAMES", '["a", "b"]')
    assert Settings().names == ("a", "b")
    monkeypatch.setenv("SEGUE_TEST_NAMES", "a, b")
    assert read_fault().startswith("setting names: Input should be a valid tuple")


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "No such file"), (b"", "is empty"), (b"\n", "is empty"), (b"\xff", "is not text")],
)
def test_a_file_that_holds_no_secret_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: bytes | None, told: str
) -> None:
    path = tmp_path / "secret"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD_FILE", str(path))
    fault = read_fault()
    assert fault.startswith(f"setting SEGUE_POSTGRES_PASSWORD_FILE: {path}")
    assert told in fault
    assert len(fault.splitlines()) == 1


def test_an_endless_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD_FILE", "/dev/zero")
    assert "is over 65536 bytes" in read_fault()


def test_a_variable_and_its_file_contradict(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("SEGUE_REDIS_PASSWORD", "other")
    monkeypatch.setenv("SEGUE_REDIS_PASSWORD_FILE", str(secret))
    assert "SEGUE_REDIS_PASSWORD is set as well" in read_fault()


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch, secret: Path) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD", "")
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD_FILE", str(secret))
    assert "s3cret" in Settings().postgres_dsn


def test_a_file_for_another_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_OTHER_PASSWORD_FILE", "/nowhere")
    assert Settings().size == 1


def test_two_passwords_contradict_without_being_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_DSN", "postgresql://me:first-pw@db/segue")
    monkeypatch.setenv("SEGUE_POSTGRES_PASSWORD", "second-pw")
    fault = read_fault()
    assert "set one of them" in fault
    assert "-pw" not in fault


@pytest.mark.parametrize(
    ("given", "understood"),
    [
        ("postgres://db/segue", "postgresql://db/segue"),
        ("postgresql+asyncpg://db/segue?ssl=require", "postgresql://db/segue?sslmode=require"),
        ("postgresql+asyncpg://db/segue?ssl=true", "postgresql://db/segue?sslmode=require"),
    ],
)
def test_sqlalchemys_addresses_are_understood(
    monkeypatch: pytest.MonkeyPatch, given: str, understood: str
) -> None:
    monkeypatch.setenv("SEGUE_POSTGRES_DSN", given)
    assert Settings().postgres_dsn == understood


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("SEGUE_POSTGRES_DSN", "mysql://db/segue", "starts with none of"),
        ("SEGUE_POSTGRES_DSN", f"{ADDRESS}?sslmode=verify-full&sslrootcert=/nowhere", "/nowhere"),
        ("SEGUE_REDIS_URL", "unix:///tmp/redis.sock", "starts with none of"),
        ("SEGUE_REDIS_URL", "rediss://cache?ssl_ca_certs=/nowhere", "/nowhere"),
    ],
)
def test_an_address_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, told: str
) -> None:
    monkeypatch.setenv(variable, value)
    fault = read_fault()
    assert fault.startswith(f"setting {variable}: ")
    assert told in fault


async def test_asyncpg_reads_what_an_address_says_of_tls(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    monkeypatch.setenv(
        "SEGUE_POSTGRES_DSN",
        f"postgresql+asyncpg://127.0.0.1:1/x?ssl=verify-full&sslrootcert={tmp_path}/ca.pem",
    )
    with pytest.raises(ssl.SSLError, match="no certificate"):
        await asyncpg.connect(Settings().postgres_dsn)
