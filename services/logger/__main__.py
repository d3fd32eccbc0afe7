"""`python -m services.logger`: run the service; `... migrate`: bring the schema up and end."""

import asyncio
import sys

import uvicorn
from pydantic import ValidationError

from services.logger.adapters.migrate import (
    PostgresUnavailableError,
    migrate_async,
    wait_for_postgres,
)
from services.logger.app import create_app
from services.logger.settings import Settings
from shared.exposure import ExposedError
from shared.logs import configure_logging
from shared.settings import describe_invalid_settings

USAGE = "usage: python -m services.logger [migrate]"


def main(arguments: list[str]) -> int:
    """Run what the arguments name; settings come from the environment."""
    try:
        settings = Settings()
        configure_logging(settings.log_level, settings.log_format)
        if arguments == ["migrate"]:
            asyncio.run(_migrate(settings))
        elif not arguments:
            asyncio.run(_serve(settings))
        else:
            print(USAGE, file=sys.stderr)
            return 2
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except ExposedError as error:
        print(error, file=sys.stderr)
        return 2
    except PostgresUnavailableError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


async def _migrate(settings: Settings) -> None:
    await wait_for_postgres(settings.postgres_dsn, timeout_s=settings.postgres_wait_s)
    await migrate_async(settings.postgres_dsn)


async def _serve(settings: Settings) -> None:
    app = create_app(settings)
    # Here, because the server's own report of a failed start is a traceback. The application
    # migrates.
    await wait_for_postgres(settings.postgres_dsn, timeout_s=settings.postgres_wait_s)
    config = uvicorn.Config(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    await uvicorn.Server(config).serve()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
