"""A Redis Cluster on the serving path: one pipelined connection to each of its nodes.

The first key of a command names the slot, the map of slots names the node. A node that has given a
slot away says where to (MOVED), and one that is giving it away says where a key may be (ASK).
Whatever looks as if the map were old has it fetched anew, beside the requests.
"""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot
from redis.exceptions import RedisError, ResponseError

from services.recommender.adapters.redis_connection import RedisConnection, Word
from shared.redis_place import make_node_url, parse_slots

logger = logging.getLogger(__name__)

# Place of the first key among a command's words; commands without one go to any node.
KEY_AT = {"GET": 1, "XADD": 1, "EVAL": 3, "EVALSHA": 3}
MAX_REDIRECTS = 20  # a caller's deadline comes first
TRY_AGAIN_S = 0.02  # while keys of one command lie on two nodes
REFRESH_REST_S = 0.1  # after a look for the map
REFRESH_TIMEOUT_S = 1.0  # of one node

Address = tuple[str, int]


class RedisClusterConnection:
    """Connects when the first command comes; speaks as `RedisConnection` does."""

    def __init__(self, urls: Sequence[str]) -> None:
        """Take the URLs of some nodes, alike but for host and port.

        Raises:
            ValueError: If one is no such URL.
        """
        self._url = urls[0]
        self._nodes: dict[Address, RedisConnection] = {}
        self._seeds = [
            self._node(at.hostname or "127.0.0.1", at.port or 6379) for at in map(urlsplit, urls)
        ]
        self._addresses: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        self._refresh: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self._trouble = ""  # why the last look for the map had no success

    async def execute(self, *words: Word) -> Any:
        """Send a command to the node that has its key, and wait for its reply.

        Raises:
            ResponseError: If Redis refuses the command.
            OSError: If the node cannot be reached, or is lost before it replies.
        """
        place = KEY_AT.get(str(words[0]))
        if place is None:
            return await self._execute_anywhere(words)
        slot = key_slot(str(words[place]).encode())
        if self._addresses[slot] is None:
            await self._look()
        return await self._execute_at(slot, words)

    def close(self) -> None:
        """Let go of all connections."""
        if self._refresh is not None:
            self._refresh.cancel()
        for node in self._nodes.values():
            node.close()

    async def _execute_at(self, slot: int, words: tuple[Word, ...]) -> Any:
        address, is_asked = self._addresses[slot], False
        if address is None:
            raise ConnectionRefusedError(f"no node of the cluster has slot {slot}{self._trouble}")
        for _ in range(MAX_REDIRECTS):
            node = self._node(*address)
            try:
                return await (node.execute_asking(*words) if is_asked else node.execute(*words))
            except ResponseError as error:
                address, is_asked = await self._redirect(error, slot, address, is_asked=is_asked)
            except (OSError, asyncio.CancelledError):  # lost, or silent until the caller's deadline
                self._look_soon()
                raise
        raise ConnectionRefusedError(f"the cluster's nodes disagree about slot {slot}")

    async def _redirect(
        self, error: ResponseError, slot: int, asked: Address, *, is_asked: bool
    ) -> tuple[Address, bool]:
        """Return whom to send to instead, and whether by asking; raise what says nothing of it."""
        kind, _, rest = str(error).partition(" ")
        if kind == "TRYAGAIN":
            await asyncio.sleep(TRY_AGAIN_S)
            return asked, is_asked
        if kind not in {"MOVED", "ASK"}:
            if kind == "CLUSTERDOWN":
                self._look_soon()
            raise error
        host, _, port = rest.split()[1].rpartition(":")
        address = host or asked[0], int(port)  # without a host it is the one that was asked
        if kind == "MOVED":
            self._addresses[slot] = address
            self._look_soon()
        return address, kind == "ASK"

    async def _execute_anywhere(self, words: tuple[Word, ...]) -> Any:
        """Send to the first node that answers."""
        failure: OSError | None = None
        for address, node in list(self._nodes.items()):
            try:
                return await node.execute(*words)
            except OSError as error:
                failure = error
            except asyncio.CancelledError:  # a silent node keeps no second caller from the others
                self._put_last(address)
                raise
        raise failure or ConnectionRefusedError("the cluster has no nodes")

    def _node(self, host: str, port: int) -> RedisConnection:
        if (host, port) not in self._nodes:
            self._nodes[host, port] = RedisConnection(make_node_url(self._url, host, port))
        return self._nodes[host, port]

    def _put_last(self, address: Address) -> None:
        """Let a node be asked after all others, where any will do."""
        if address in self._nodes:
            self._nodes[address] = self._nodes.pop(address)

    def _look_soon(self) -> None:
        """Fetch the map beside the requests, unless that is under way or was just done."""
        loop = asyncio.get_running_loop()
        is_under_way = self._refresh is not None and not self._refresh.done()
        if not is_under_way and loop.time() >= self._rests_until:
            self._refresh = loop.create_task(self._fetch())

    async def _look(self) -> None:
        """Fetch the map, or wait for who does."""
        self._look_soon()
        if self._refresh is not None:
            # A request's deadline ends its wait, and not what others wait for.
            await asyncio.shield(self._refresh)

    async def _fetch(self) -> None:
        """Ask the nodes in turn, beginning with another each time: one may be cut off from all."""
        for _ in range(len(self._nodes)):
            address, node = next(iter(self._nodes.items()))
            self._put_last(address)
            try:
                async with asyncio.timeout(REFRESH_TIMEOUT_S):
                    ranges = await node.execute("CLUSTER", "SLOTS")
            except (RedisError, OSError) as error:
                self._trouble = f": {str(error) or type(error).__name__}"
                continue
            if ranges:
                self._take(ranges, asked=node.host)
                self._trouble = ""
                break
        else:
            logger.warning("no node of the Redis Cluster has a map of its slots%s", self._trouble)
        self._rests_until = asyncio.get_running_loop().time() + REFRESH_REST_S

    def _take(self, ranges: list[Any], *, asked: str) -> None:
        addresses: list[Address | None] = [None] * REDIS_CLUSTER_HASH_SLOTS
        for begin, end, host, port in parse_slots(ranges, asked=asked):
            address = host, port
            self._node(*address)
            addresses[begin : end + 1] = [address] * (end + 1 - begin)
        self._addresses = addresses
        seeds = {id(seed) for seed in self._seeds}
        for address in self._nodes.keys() - set(addresses):
            if id(self._nodes[address]) not in seeds:
                self._nodes.pop(address).close()
