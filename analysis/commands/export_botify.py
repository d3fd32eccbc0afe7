"""`export --format botify`: the events as botify writes its log, a JSON object per line."""

import argparse
import sys

from analysis.adapters.botify_log import STANDARD, open_output, stream_lines
from analysis.adapters.measurements import open_database
from analysis.commands.options import tell_progress
from analysis.core.botify_log import encode_lines
from analysis.settings import Settings


async def export(options: argparse.Namespace) -> None:
    """Write the events to a file, to a `.gz`, or to the standard output (`-`).

    Raises:
        DatabaseError: If Postgres cannot answer.
        OSError: If the file cannot be written.
    """
    n_lines = 0
    async with open_database(
        options.dsn or Settings().postgres_dsn, tell=tell_progress
    ) as connection:
        with open_output(options.to) as output:
            lines = stream_lines(
                connection, since=options.since, until=options.until, share=options.share
            )
            async for some in lines:
                output.write(encode_lines(some))
                n_lines += len(some)
    target = sys.stderr if options.to == STANDARD else sys.stdout
    print(f"{options.to}: wrote {n_lines:,} events", file=target)
