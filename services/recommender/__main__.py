"""`python -m services.recommender`: serve until stopped."""

import gc
import logging
import sys

import uvicorn

from services.recommender.app import create_app
from services.recommender.settings import Settings
from shared.catalog import InvalidCatalogError
from shared.experiments import InvalidExperimentsError


def main() -> int:
    """Serve; exit 2 with one line if there is nothing that could be served."""
    settings = Settings()
    logging.basicConfig(level=settings.log_level.upper(), format="%(levelname)s %(message)s")
    try:
        app = create_app(settings)
    except InvalidCatalogError as error:
        print(f"catalogue (SEGUE_RECOMMENDER_CATALOG): {error}", file=sys.stderr)
        return 2
    except InvalidExperimentsError as error:
        print(f"experiments (SEGUE_RECOMMENDER_EXPERIMENTS): {error}", file=sys.stderr)
        return 2
    gc.freeze()  # the catalogue stays: the collector need not visit it again
    uvicorn.run(app, host=settings.host, port=settings.port, access_log=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
