"""A replica takes the place of Redis, or of a node of its cluster, under listeners and a logger."""

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from deploy.local.servers import PostgresServer
from tests.cluster import (
    Cluster,
    running_cluster,
    wait_until_attached,
    wait_until_copied,
    wait_until_promoted,
)
from tests.integration.circle import (
    USERS,
    assert_every_event_is_one_row,
    calling,
    logging_to,
    play,
    step,
)
from tests.integration.recommender.conftest import OwnValkey, Proxy, Service, serving, until
from tests.unit.recommender.factories import FIRST_ID

# Without a spool listeners wait until the replica serves; with one they hear on.
IN_A_CLUSTER = [("kill", False), ("freeze", True)]
BEHIND_AN_ADDRESS = [("hand_over", False), ("hand_over", True), ("kill", True), ("freeze", False)]


def options(folder: Path, *, has_spool: bool) -> dict[str, Any]:
    """Return settings of a recommender that soon notices."""
    quick = {"deadline_s": 0.5, "rest_s": 0.1}
    return {**quick, "spool": folder / "spool"} if has_spool else quick


async def is_drained(service: Service, logger: httpx.AsyncClient) -> bool:
    """Tell whether no step waits, in a spool or in a stream."""
    metrics = (await service.client.get("/metrics")).text
    lag = (await logger.get("/lag")).json()
    is_spooled = "segue_spooled_commits " in metrics and "segue_spooled_commits 0.0" not in metrics
    return not is_spooled and (lag.get("undelivered"), lag.get("pending")) == (0, 0)


async def play_through(service: Service, failure: Any) -> None:
    """Let all listeners play a track, and then to their sessions' ends while the failure comes."""
    tracks = [await step(service, user, 0, FIRST_ID + user) for user in USERS]
    failing = asyncio.create_task(asyncio.to_thread(failure))
    await asyncio.gather(*(play(service, user, first=1, track=tracks[user]) for user in USERS))
    await failing


@pytest.fixture
def replicated(tmp_path: Path) -> Iterator[Cluster]:
    """Return a cluster whose first node has a replica."""
    with running_cluster(tmp_path / "cluster", n_replicas=1) as cluster:
        yield cluster


@pytest.mark.parametrize(("fault", "has_spool"), IN_A_CLUSTER)
async def test_a_replica_takes_a_masters_place(
    *, fault: str, has_spool: bool, replicated: Cluster, database: PostgresServer, tmp_path: Path
) -> None:
    master, replica = replicated.nodes[0], replicated.replicas[0]

    def fail() -> None:
        with master.open() as at_master, replica.open() as at_replica:
            wait_until_copied(at_master, at_replica)
            getattr(master, fault)()
            wait_until_promoted(at_replica)

    async with (
        serving(tmp_path, replicated.url, **options(tmp_path, has_spool=has_spool)) as service,
        calling(logging_to(database, replicated.url, redis_timeout_s=1)) as logger,
    ):
        await play_through(service, fail)
        await assert_every_event_is_one_row(database)
        await until(lambda: is_drained(service, logger), timeout_s=20)
        assert (await logger.get("/health/ready")).status_code == 200


class Pair:
    """A primary and its replica behind one address, which is the primary's until it is moved."""

    def __init__(self, folder: Path) -> None:
        """Start both."""
        self.primary, self.replica = OwnValkey(folder / "a"), OwnValkey(folder / "b")
        self.address = Proxy(self.primary.server.port)
        for server in (self.primary, self.replica):
            server.start()
        with self.primary.open() as primary, self.replica.open() as replica:
            primary.config_set("repl-diskless-sync-delay", 0)
            replica.replicaof("127.0.0.1", self.primary.server.port)
            wait_until_attached(replica)

    def hand_over(self) -> None:
        """Let them change places; who is connected to the primary is connected to a replica."""
        with self.primary.open() as primary, self.replica.open() as replica:
            primary.execute_command("FAILOVER", "TO", "127.0.0.1", self.replica.server.port)
            wait_until_promoted(replica)

    def kill(self) -> None:
        """Kill the primary."""
        self._replace(self.primary.kill)

    def freeze(self) -> None:
        """Let the primary say nothing more."""
        self._replace(self.primary.freeze)

    def _replace(self, end: Any) -> None:
        with self.primary.open() as primary, self.replica.open() as replica:
            wait_until_copied(primary, replica)
            end()
            replica.replicaof("NO", "ONE")


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Return a primary and its replica."""
    pair = Pair(tmp_path / "pair")
    yield pair
    pair.primary.kill()
    pair.replica.kill()


@pytest.mark.parametrize(("fault", "has_spool"), BEHIND_AN_ADDRESS)
async def test_the_address_of_redis_moves_to_its_replica(
    *, fault: str, has_spool: bool, pair: Pair, database: PostgresServer, tmp_path: Path
) -> None:
    def fail() -> None:
        getattr(pair, fault)()
        pair.address.move_to(pair.replica.server.port)

    async with pair.address.running():
        url = f"redis://127.0.0.1:{pair.address.port}/0"
        async with (
            serving(tmp_path, url, **options(tmp_path, has_spool=has_spool)) as service,
            calling(logging_to(database, url, redis_timeout_s=1)) as logger,
        ):
            await play_through(service, fail)
            await assert_every_event_is_one_row(database)
            await until(lambda: is_drained(service, logger), timeout_s=20)
            assert (await logger.get("/health/ready")).status_code == 200
            assert (await service.client.get("/health/ready")).status_code == 200
