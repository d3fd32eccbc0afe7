"""`python -m services.recommender`: serve until stopped."""

import gc
import sys

import uvicorn
from pydantic import ValidationError

from services.recommender.app import create_app
from services.recommender.settings import Settings
from shared.catalog import InvalidCatalogError
from shared.experiments import InvalidExperimentsError
from shared.logs import configure_logging
from shared.settings import describe_invalid_settings


def main() -> int:
    """Serve; exit 2 with one line if there is nothing that could be served."""
    try:
        settings = Settings()
        configure_logging(settings.log_level)
        app = create_app(settings)
    except ValidationError as error:
        print(describe_invalid_settings(error), file=sys.stderr)
        return 2
    except InvalidCatalogError as error:
        print(f"catalogue (SEGUE_RECOMMENDER_CATALOG): {error}", file=sys.stderr)
        return 2
    except InvalidExperimentsError as error:
        print(f"experiments (SEGUE_RECOMMENDER_EXPERIMENTS): {error}", file=sys.stderr)
        return 2
    gc.freeze()  # the catalogue stays: the collector need not visit it again
    uvicorn.run(
        app,
        host=settings.host,
        port=settings.port,
        log_config=None,
        access_log=False,
        proxy_headers=False,  # nothing here depends on who asks
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
