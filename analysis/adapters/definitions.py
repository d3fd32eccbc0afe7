"""Definitions of experiments as they were recorded, from Postgres."""

import asyncpg
import msgspec

from analysis.core.definitions import Window
from shared.experiments import ExperimentSet

WINDOWS = """
SELECT digest, content::text AS content, valid_from,
       nullif(valid_until, 'infinity') AS valid_until
FROM definition_windows
ORDER BY valid_from, digest
"""


async def fetch_windows(connection: asyncpg.Connection) -> list[Window]:
    """Fetch which definitions were served by when, oldest first.

    Those that this version cannot read, of a newer one perhaps, are left out.
    """
    windows = []
    for row in await connection.fetch(WINDOWS):
        try:
            definitions = msgspec.json.decode(row["content"], type=ExperimentSet)
        except msgspec.ValidationError:
            continue
        windows.append(Window(definitions, row["digest"], row["valid_from"], row["valid_until"]))
    return windows
