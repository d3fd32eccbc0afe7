"""`python -m services.dashboard`: run the service."""

import logging
import sys

import uvicorn
from pydantic import ValidationError

from services.dashboard.app import create_app
from services.dashboard.settings import Settings
from shared.logs import configure_logging
from shared.settings import describe_invalid_settings


def main() -> int:
    """Serve; settings come from the environment."""
    try:
        settings = Settings()
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    configure_logging(settings.log_level)
    logging.getLogger("httpx").setLevel(logging.WARNING)  # it tells of every request
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
