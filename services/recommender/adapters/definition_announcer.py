"""Says in Redis what definitions this process serves by, until it is known to be there."""

import asyncio
import contextlib
import logging
from typing import Protocol

from redis.exceptions import RedisError

from shared.definition_log import LOADS_KEY, DefinitionLoad, announce_load
from shared.redis_client import create_redis

TIMEOUT_S = 5.0

logger = logging.getLogger(__name__)


class Announcer(Protocol):
    """Says what definitions are served by."""

    async def watch(self) -> None:
        """Say it until cancelled."""


class DefinitionAnnouncer:
    """Announces one load, and again where Redis has lost its log; the database keeps it once."""

    def __init__(self, url: str, load: DefinitionLoad, *, interval_s: float) -> None:
        """Prepare; nothing is opened yet."""
        self._url = url
        self._load = load
        self._interval_s = interval_s
        self._is_announced = False

    async def watch(self) -> None:
        """Announce until cancelled; what fails is tried again."""
        while True:
            try:
                await self.announce()
            except (RedisError, OSError) as error:
                logger.warning("definitions not announced: %s", str(error) or type(error).__name__)
            await asyncio.sleep(self._interval_s)

    async def announce(self) -> None:
        """Announce the load unless the log has it."""
        async with contextlib.aclosing(create_redis(self._url, timeout_s=TIMEOUT_S)) as redis:
            if not (self._is_announced and await redis.exists(LOADS_KEY)):
                await announce_load(redis, self._load)
                self._is_announced = True
                logger.info("serving by definitions %s", self._load.digest[:12])
