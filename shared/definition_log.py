"""The log of definitions: what a recommender loaded, and when, on the way to the database.

Every process that starts adds an entry, whatever was loaded before it: whoever reads the log finds
where one set of definitions took over from another. Entries are idempotent and few.
"""

import hashlib
import logging
from datetime import datetime
from typing import Annotated

import msgspec
from redis.asyncio import Redis

from shared.definitions import encode_definitions
from shared.events import truncate_to_milliseconds
from shared.experiments import ExperimentSet

# In the slot of the models, where the clients of a cluster look.
LOADS_KEY = "segue:{models}:definition_loads"
FIRST = "-"
MAX_LOADS = 10_000  # kept for a database that is away

logger = logging.getLogger(__name__)


class DefinitionLoad(msgspec.Struct, frozen=True):
    """A process that began to serve by definitions.

    Attributes:
        loaded_at: When, aware UTC, to the millisecond, as events are.
        digest: SHA-256 of the content.
        content: The definitions, as `encode_definitions` writes them.
    """

    loaded_at: Annotated[datetime, msgspec.Meta(tz=True)]
    digest: str
    content: msgspec.Raw


def make_load(experiments: ExperimentSet, now: datetime) -> DefinitionLoad:
    """Describe a load of definitions at a moment."""
    content = encode_definitions(experiments)
    digest = hashlib.sha256(content).hexdigest()
    return DefinitionLoad(truncate_to_milliseconds(now), digest, msgspec.Raw(content))


async def announce_load(redis: Redis, load: DefinitionLoad) -> None:
    """Add a load to the log."""
    entry = {"load": msgspec.json.encode(load)}
    await redis.xadd(LOADS_KEY, entry, maxlen=MAX_LOADS, approximate=True)


async def fetch_loads(redis: Redis, *, after: str = FIRST) -> tuple[list[DefinitionLoad], str]:
    """Fetch the loads added after an entry.

    Returns:
        The loads in order, without entries that are none, and the entry to ask after next time.
    """
    start = after if after == FIRST else f"({after}"
    entries = await redis.xrange(LOADS_KEY, min=start)
    loads = []
    for entry_id, fields in entries:
        try:
            loads.append(msgspec.json.decode(fields.get(b"load", b""), type=DefinitionLoad))
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            logger.warning("%s of %s is no load: %s", entry_id.decode(), LOADS_KEY, error)
    return loads, entries[-1][0].decode() if entries else after
