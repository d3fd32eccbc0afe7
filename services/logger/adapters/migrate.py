"""Bring a database's schema to the newest revision."""

import asyncio
import functools
import time
from pathlib import Path

import asyncpg
from alembic import command, op
from alembic.config import Config
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

MIGRATIONS = Path(__file__).parent / "migrations"
LOCK_KEY = 0x5E6E  # of the advisory lock under which one process at a time migrates

# What a Postgres that is still starting, or not there yet, answers.
NOT_YET = (
    OSError,
    asyncpg.CannotConnectNowError,
    asyncpg.PostgresConnectionError,
    asyncpg.TooManyConnectionsError,
)

# No such user or password, no such database: no use to wait.
REFUSALS = (asyncpg.InvalidAuthorizationSpecificationError, asyncpg.InvalidCatalogNameError)


class PostgresUnavailableError(RuntimeError):
    """No Postgres in the time allowed, or none that lets us in; the message says where and why."""


def migrate(dsn: str, revision: str = "head") -> None:
    """Upgrade a database's schema; several processes may do so at once.

    Args:
        dsn: `postgresql://...` of a Postgres that is up.
        revision: Where to go; `base` empties the database.
    """
    asyncio.run(migrate_async(dsn, revision))


async def migrate_async(dsn: str, revision: str = "head") -> None:
    """Do what `migrate` does, from inside an event loop."""
    # Only asyncpg reads all that an address may say of TLS.
    connect = functools.partial(asyncpg.connect, dsn)
    engine = create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
    try:
        async with engine.begin() as connection:
            # Held until the commit: whoever comes second finds nothing left to do.
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({LOCK_KEY})"))
            await connection.run_sync(functools.partial(_run_alembic, revision=revision))
    finally:
        await engine.dispose()


async def wait_for_postgres(dsn: str, *, timeout_s: float) -> None:
    """Wait until Postgres answers.

    Raises:
        PostgresUnavailableError: If it does not within `timeout_s`, or refuses us.
    """
    deadline = time.monotonic() + timeout_s
    where = make_url(dsn).render_as_string(hide_password=True)
    while True:
        try:
            connection = await asyncpg.connect(dsn, timeout=5)
        except NOT_YET as error:
            if time.monotonic() >= deadline:
                raise PostgresUnavailableError(
                    f"no Postgres at {where} after {timeout_s:g} s: {error}"
                ) from error
            await asyncio.sleep(0.25)
        except REFUSALS as error:
            raise PostgresUnavailableError(f"Postgres at {where} refuses: {error}") from error
        else:
            await connection.close()
            return


def execute_script(script: str) -> None:
    """Run several statements in the current migration's transaction.

    `op.execute` prepares what it runs, and Postgres prepares one statement at a time.
    """
    connection = op.get_bind().connection
    connection.run_async(lambda driver: driver.execute(script))


def _run_alembic(connection: Connection, *, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    move = command.downgrade if revision == "base" else command.upgrade
    move(config, revision)
