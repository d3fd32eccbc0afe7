"""Where Redis is: one server, or the nodes of a cluster, and how keys are spread over them.

    redis://[user:password@]host:port/0
    redis+cluster://[user:password@]host:port,host:port/?shards=16

The same with `rediss` speaks TLS. A cluster is one name for many servers, each with some of the
16384 slots; commands about several keys need all of them in one slot. What belongs together, a
listener's session and the stream of its events, is therefore kept in one of `shards` slots, spread
evenly over the slots and hence over the nodes.
"""

import functools
import re
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import msgspec
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

N_SHARDS = 16
MAX_SHARDS = 1024
_CLUSTER = "+cluster"


class RedisPlace(msgspec.Struct, frozen=True):
    """What a URL says.

    Attributes:
        urls: Of the server, or of nodes that know the cluster's others.
        n_shards: Of a cluster; 0 is one server, whose keys need no slots.
    """

    urls: tuple[str, ...]
    n_shards: int = 0


def parse_redis_url(url: str) -> RedisPlace:
    """Read a URL.

    Raises:
        ValueError: If it names a cluster and is none.
    """
    scheme, separator, rest = url.partition("://")
    if not scheme.endswith(_CLUSTER):
        return RedisPlace((url,))
    parts = urlsplit(f"redis{separator}{rest}")
    options = dict(parse_qsl(parts.query))
    n_shards = options.pop("shards", str(N_SHARDS))
    if not re.fullmatch(r"\d{1,4}", n_shards) or not 1 <= int(n_shards) <= MAX_SHARDS:
        raise ValueError(f"shards={n_shards} is not between 1 and {MAX_SHARDS}")
    if parts.path not in {"", "/", "/0"}:
        raise ValueError("a cluster has no databases but 0")
    credentials, at, nodes = parts.netloc.rpartition("@")
    if not all(nodes.split(",")):
        raise ValueError("a cluster's URL names host:port of one node or more")
    query = f"?{urlencode(options)}" if options else ""
    base = f"{scheme.removesuffix(_CLUSTER)}://{credentials}{at}"
    urls = tuple(f"{base}{node}/0{query}" for node in nodes.split(","))
    return RedisPlace(urls, int(n_shards))


def make_node_url(url: str, host: str, port: int) -> str:
    """Return the URL of another node of the same cluster."""
    parts = urlsplit(url)
    credentials, at, _ = parts.netloc.rpartition("@")
    name = f"[{host}]" if ":" in host else host
    return parts._replace(netloc=f"{credentials}{at}{name}:{port}").geturl()


def parse_slots(ranges: list[Any], *, asked: str) -> Iterator[tuple[int, int, str, int]]:
    """Read the answer to `CLUSTER SLOTS`.

    Args:
        ranges: The answer, undecoded.
        asked: Host of the node that gave it; where it names none for a node, it means this one.

    Yields:
        First and last slot of a range, host and port of its master.
    """
    for begin, end, (host, port, *_), *_ in ranges:
        yield int(begin), int(end), host.decode() if host else asked, int(port)


@functools.cache
def make_tags(n_shards: int) -> tuple[str, ...]:
    """Make the hash tags of shards: the slot of the k-th lies in the k-th part of all slots.

    Each is the least number for which that holds, so that every service makes the same.
    """
    found: dict[int, str] = {}
    for tag in _numbers():
        part = key_slot(tag.encode()) * n_shards // REDIS_CLUSTER_HASH_SLOTS
        found.setdefault(part, tag)
        if len(found) == n_shards:
            break
    return tuple(found[part] for part in range(n_shards))


def _numbers() -> Iterator[str]:
    number = 0
    while True:
        yield str(number)
        number += 1
