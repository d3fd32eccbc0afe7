"""Export the event log to files."""

import argparse
import asyncio

from analysis.adapters.measurements import DatabaseError
from analysis.commands import export_botify
from analysis.commands.options import FAILED, WRONG_USAGE, add_data_arguments, fail

# Each a module with a coroutine `export(options)`. It raises ValueError for a wrong option, and
# the other errors that `run` names for what cannot be done.
FORMATS = {"botify": export_botify}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("--format", choices=tuple(FORMATS), required=True)
    parser.add_argument("--to", required=True, metavar="PLACE", help="botify: a file, .gz, or -")
    add_data_arguments(parser)


def run(options: argparse.Namespace) -> int:
    """Export, and return the exit code."""
    try:
        asyncio.run(FORMATS[options.format].export(options))
    except (DatabaseError, ImportError, OSError) as error:
        return fail(str(error), code=FAILED)
    except ValueError as error:
        return fail(str(error), code=WRONG_USAGE)
    return 0
