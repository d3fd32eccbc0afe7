"""Export the event log to files."""

import argparse
import asyncio

from analysis.adapters.measurements import DatabaseError
from analysis.commands import export_botify, export_parquet
from analysis.commands.options import FAILED, WRONG_USAGE, add_data_arguments, explain, fail, level

# Each a module with a coroutine `export(options)`. It raises ValueError for a wrong option, and
# the other errors that `run` names for what cannot be done.
FORMATS = {"parquet": export_parquet, "botify": export_botify}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--format", choices=tuple(FORMATS), required=True)
    parser.add_argument(
        "--to",
        required=True,
        metavar="PLACE",
        help="parquet: a folder, or s3://bucket/prefix; botify: a file, .gz, or -",
    )
    parser.add_argument(
        "--share", type=_share, default=1.0, metavar="S", help="of the listeners, as 0.01 (all)"
    )
    add_data_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Export, and return the exit code."""
    try:
        asyncio.run(FORMATS[options.format].export(options))
    except BrokenPipeError:  # of the standard output: `main` knows what that means
        raise
    except (DatabaseError, ImportError) as error:
        return fail(str(error), code=FAILED)
    except OSError as error:
        return fail(explain(error), code=FAILED)
    except ValueError as error:
        return fail(str(error), code=WRONG_USAGE)
    return 0


def _share(text: str) -> float:
    return 1.0 if text == "1" else level(text)
