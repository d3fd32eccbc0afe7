"""A redis-py connection to the node of a Redis Cluster that has a slot, wherever that is now.

redis-py's own cluster client is for keys of all slots. It asks each time it is made for every
command that there is, and closes all its connections when one node fails. What is off the serving
path has all its keys in one slot: it needs one node, looked up when connecting, as with a sentinel.
"""

from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.connection import SSLConnection
from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, MovedError, RedisError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

from shared.primary_connection import DEMOTED, PrimaryConnection
from shared.redis_place import make_node_url, parse_slots

LOOK_TIMEOUT_S = 1.0  # of one node that is asked who has which slots


class Directory:
    """Knows which node has a key's slot, from whichever node can be asked."""

    def __init__(self, urls: Sequence[str], key: str) -> None:
        """Take the URLs of some nodes, alike but for host and port."""
        self._seeds = tuple(urls)
        self._urls = list(dict.fromkeys(urls))  # in the order in which they will be asked
        self._slot = key_slot(key.encode())

    async def find(self) -> tuple[str, int]:
        """Return host and port of the node.

        Raises:
            RedisConnectionError: If no node can be asked, or none has the slot.
        """
        reason = ""
        for url in list(self._urls):
            try:
                async with Redis.from_url(
                    url, socket_timeout=LOOK_TIMEOUT_S, socket_connect_timeout=LOOK_TIMEOUT_S
                ) as redis:
                    ranges = await redis.execute_command("CLUSTER", "SLOTS")
            except (RedisError, OSError) as error:
                reason = f": {error}"
                continue
            if found := self._search(ranges, asked=url):
                return found
        raise RedisConnectionError(f"no node of the cluster has slot {self._slot}{reason}")

    def _search(self, ranges: list[Any], *, asked: str) -> tuple[str, int] | None:
        found = None
        known: dict[str, None] = {}
        for begin, end, host, port in parse_slots(ranges, asked=urlsplit(asked).hostname or ""):
            known[make_node_url(asked, host, port)] = None
            if begin <= self._slot <= end:
                found = host, port
        # The next time another is asked: this one may be cut off from the rest, and not know it.
        known |= dict.fromkeys(self._seeds)
        self._urls = [*(url for url in known if url != asked), asked]
        return found


class SlotConnection(PrimaryConnection):
    """Connects to the node that has the slot; a node that has given it away is left."""

    elsewhere = (*DEMOTED, MovedError, AskError, TryAgainError, ClusterDownError)

    def __init__(self, *, directory: Directory, **options: Any) -> None:
        """Take who knows the node."""
        self._directory = directory
        super().__init__(**options)

    async def _connect(self) -> None:
        self.host, self.port = await self._directory.find()
        await super()._connect()


class SlotSSLConnection(SlotConnection, SSLConnection):  # type: ignore[misc]
    """The same over TLS."""
