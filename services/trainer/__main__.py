"""`python -m services.trainer`: run the service; `... fit`, `... publish`: work without it."""

import asyncio
import sys

import uvicorn
from pydantic import ValidationError

from services.trainer.app import create_app
from services.trainer.cli import create_parser, publish_path
from services.trainer.core.errors import TrainingError
from services.trainer.fit_command import CommandError, fit_offline
from services.trainer.fit_options import UsageError
from services.trainer.map_command import draw_map_to_file
from services.trainer.settings import Settings
from shared.artifacts import ArtifactError
from shared.catalog import InvalidCatalogError
from shared.exposure import ExposedError
from shared.logs import configure_logging
from shared.settings import describe_invalid_settings

STOP_S = 3


def main(arguments: list[str]) -> int:
    """Run what the arguments name; settings come from the environment.

    Returns:
        0 on success, 1 if it cannot be done, 2 if the arguments are wrong.
    """
    options = create_parser().parse_args(arguments)
    try:
        settings = Settings()
        configure_logging(settings.log_level, settings.log_format)
        if options.command == "fit":
            fit_offline(options)
        elif options.command == "publish":
            print(asyncio.run(publish_path(options, settings)))
        elif options.command == "map":
            asyncio.run(draw_map_to_file(options, settings))
        else:
            _serve(settings)
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except (ExposedError, UsageError) as error:
        print(error, file=sys.stderr)
        return 2
    except (TrainingError, ArtifactError, InvalidCatalogError, CommandError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _serve(settings: Settings) -> None:
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        # Event streams end with their training; the service does not wait for that to stop.
        timeout_graceful_shutdown=STOP_S,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
