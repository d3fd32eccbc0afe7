"""`python -m services.recommender`: serve, or look at definitions of experiments."""

import argparse
import os
import resource
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import uvicorn
from pydantic import ValidationError

from services.recommender.app import create_app, tune_collector
from services.recommender.connection import SERVER_OPTIONS
from services.recommender.core.policies import make_policies
from services.recommender.core.schema import write_schema
from services.recommender.core.summary import summarise
from services.recommender.settings import Settings
from shared.catalog import InvalidCatalogError
from shared.definitions import InvalidExperimentsError, load_experiments
from shared.logs import configure_logging
from shared.metrics import FOLDER_VARIABLE
from shared.settings import describe_invalid_settings

_SHUTDOWN_S = 15


def allow_many_connections() -> None:
    """Raise the number of open files to what this process may have."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def main(arguments: Sequence[str] = ()) -> int:
    """Do what the arguments name; settings come from the environment."""
    parser = argparse.ArgumentParser(prog="python -m services.recommender", description=__doc__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", help="default: serve")
    commands.add_parser("serve", help="serve")
    checking = commands.add_parser("check", help="check a file of definitions of experiments")
    checking.add_argument("file", type=Path, nargs="?", help="default: the one that would serve")
    commands.add_parser("schema", help="print the JSON schema of such files")
    options = parser.parse_args(arguments)
    match options.command:
        case "check":
            return check(options.file or Settings().experiments)
        case "schema":
            print(write_schema(), end="")
            return 0
        case _:
            return serve()


def check(path: Path) -> int:
    """Say what a file of definitions comes to now; exit 2 with one line if it cannot be served."""
    try:
        experiments = load_experiments(path)
        make_policies(experiments)
    except InvalidExperimentsError as error:
        print(str(error) if str(path) in str(error) else f"{path}: {error}", file=sys.stderr)
        return 2
    for line in summarise(experiments, datetime.now(UTC)):
        print(line)
    return 0


def serve() -> int:
    """Serve; exit 2 with one line if there is nothing that could be served."""
    try:
        settings = Settings()
        configure_logging(settings.log_level, settings.log_format)
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
    options: dict[str, Any] = {
        **SERVER_OPTIONS,
        "host": settings.host,
        "port": settings.port,
        "timeout_graceful_shutdown": _SHUTDOWN_S,
    }
    allow_many_connections()
    if settings.workers == 1:
        tune_collector()
        uvicorn.run(app, **options)
        return 0
    del app  # it was made to find what is wrong before any worker starts
    factory = "services.recommender.app:create_worker_app"
    with tempfile.TemporaryDirectory() as folder:
        os.environ.setdefault(FOLDER_VARIABLE, folder)
        os.environ.setdefault("SEGUE_RECOMMENDER_ARRAYS", f"{folder}/arrays")
        uvicorn.run(factory, factory=True, workers=settings.workers, **options)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
