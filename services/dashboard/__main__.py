"""`python -m services.dashboard`: run the service."""

import sys

import uvicorn
from pydantic import ValidationError

from services.dashboard.app import create_app
from services.dashboard.settings import Settings
from shared.definitions import InvalidExperimentsError
from shared.exposure import ExposedError
from shared.logs import configure_logging
from shared.settings import describe_invalid_settings


def main() -> int:
    """Serve; settings come from the environment."""
    try:
        settings = Settings()
        configure_logging(settings.log_level, settings.log_format)
        app = create_app(settings)
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except ExposedError as error:
        print(error, file=sys.stderr)
        return 2
    except InvalidExperimentsError as error:
        print(f"experiments (SEGUE_DASHBOARD_EXPERIMENTS): {error}", file=sys.stderr)
        return 2
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
