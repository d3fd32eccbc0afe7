"""A real cluster of Valkeys on loopback: nodes die, freeze, have replicas; slots move."""

import contextlib
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from redis import Redis
from redis.crc import key_slot

from deploy.local.servers import ValkeyServer
from tests.conftest import free_port, wait_for_port

N_SLOTS = 16384
N_NODES = 3
N_SHARDS = 8


@dataclass
class Node:
    """One Valkey of a cluster.

    Attributes:
        folder: Of its data.
        port: Where it listens.
        bus_port: Where it listens to other nodes.
        announced_port: Where it tells clients that it is; `port` if not given.
        process: While it runs.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    bus_port: int = field(default_factory=free_port)
    announced_port: int | None = None
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, with the data and the slots that it had."""
        server = ValkeyServer(port=self.port, folder=self.folder)
        server.prepare()
        options = {
            "cluster-enabled": "yes",
            "cluster-port": self.bus_port,
            "cluster-announce-port": self.announced_port or self.port,
            "cluster-node-timeout": 1000,
            "repl-diskless-sync-delay": 0,
            "cluster-require-full-coverage": "no",
        }
        words = [word for key, value in options.items() for word in (f"--{key}", str(value))]
        self.process = subprocess.Popen([*server.command(), *words], stdout=subprocess.DEVNULL)
        wait_for_port(self.port, self.process)

    def freeze(self) -> None:
        """Let it say nothing more, as a machine without power; its connections stay."""
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on where it was."""
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        """Kill it at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    @contextlib.contextmanager
    def open(self) -> Iterator[Redis]:
        """Open a connection to this node."""
        with Redis(port=self.port) as redis:
            yield redis


@dataclass
class Cluster:
    """The nodes; each begins with a third of the slots.

    Attributes:
        nodes: Masters, at first.
        replicas: Of the first nodes, one each.
    """

    nodes: list[Node]
    replicas: list[Node] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Where clients reach it."""
        names = ",".join(f"127.0.0.1:{node.port}" for node in self.nodes)
        return f"redis+cluster://{names}/?shards={N_SHARDS}"

    def form(self) -> None:
        """Start the nodes and make them a cluster."""
        for number, node in enumerate(self.nodes):
            node.start()
            begin, end = (N_SLOTS * n // N_NODES for n in (number, number + 1))
            with node.open() as redis:
                redis.execute_command("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
                redis.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
        for node in self.replicas:
            node.start()
        with self.nodes[0].open() as redis:
            for node in [*self.nodes[1:], *self.replicas]:
                redis.execute_command("CLUSTER", "MEET", "127.0.0.1", node.port, node.bus_port)
        self.wait_until_whole()
        for master, replica in zip(self.nodes, self.replicas, strict=False):
            self._attach(replica, master)

    def wait_until_whole(self) -> None:
        """Wait until every node knows who has which slot."""
        wait_until(lambda: all(map(self._is_whole, [*self.nodes, *self.replicas])))

    def empty(self) -> None:
        """Forget all keys."""
        for node in self.nodes:
            with node.open() as redis:
                redis.flushall()

    def owner_of(self, key: str) -> Node:
        """Return the node that has a key's slot."""
        slot = key_slot(key.encode())
        with self.nodes[0].open() as redis:
            for begin, end, master, *_ in raw(redis, "CLUSTER", "SLOTS"):
                if begin <= slot <= end:
                    return next(node for node in self.nodes if node.port == master[1])
        raise LookupError(key)

    def begin_to_move(self, key: str) -> tuple[Node, Node]:
        """Let a key's slot be on its way from its node to another; return both."""
        slot, source = key_slot(key.encode()), self.owner_of(key)
        target = next(node for node in self.nodes if node is not source)
        with source.open() as at_source, target.open() as at_target:
            ids = [raw(redis, "CLUSTER", "MYID").decode() for redis in (at_source, at_target)]
            raw(at_target, "CLUSTER", "SETSLOT", slot, "IMPORTING", ids[0])
            raw(at_source, "CLUSTER", "SETSLOT", slot, "MIGRATING", ids[1])
        return source, target

    def move_keys(self, slot: int, source: Node, target: Node) -> None:
        """Move what the slot holds."""
        with source.open() as redis:
            while keys := raw(redis, "CLUSTER", "GETKEYSINSLOT", slot, 100):
                raw(redis, "MIGRATE", "127.0.0.1", target.port, "", 0, 5000, "KEYS", *keys)

    def end_move(self, key: str, source: Node, target: Node) -> None:
        """Move the rest of a slot, and let its new node have it."""
        slot = key_slot(key.encode())
        self.move_keys(slot, source, target)
        with target.open() as redis:
            owner = raw(redis, "CLUSTER", "MYID").decode()
        for node in (target, source, *self.nodes):
            with node.open() as redis:
                raw(redis, "CLUSTER", "SETSLOT", slot, "NODE", owner)

    def _is_whole(self, node: Node) -> bool:
        with node.open() as redis:
            info = raw(redis, "CLUSTER", "INFO")
        n_nodes = len(self.nodes) + len(self.replicas)
        return (
            b"cluster_state:ok" in info
            and b"cluster_known_nodes:%d" % n_nodes in info
            and b"cluster_slots_ok:16384" in info
        )

    def _attach(self, replica: Node, master: Node) -> None:
        with master.open() as redis:
            owner = raw(redis, "CLUSTER", "MYID").decode()
        with replica.open() as redis:
            raw(redis, "CLUSTER", "REPLICATE", owner)
            wait_until_attached(redis)


def wait_until(condition: Callable[[], bool], *, timeout_s: float = 30) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("what was waited for did not come")
        time.sleep(0.05)


def wait_until_copied(master: Redis, replica: Redis) -> None:
    """Let a master take no more writes, and its replica have all that it took."""
    master.client_pause(60_000, all=False)
    wait_until(lambda: _offset_of(master) == _offset_of(replica))


def wait_until_promoted(replica: Redis) -> None:
    """Wait until a replica has its master's place."""
    wait_until(lambda: replica.info("replication")["role"] == "master")


def wait_until_attached(replica: Redis) -> None:
    """Wait until a replica has what its master has."""
    wait_until(lambda: replica.info("replication").get("master_link_status") == "up")


def _offset_of(redis: Redis) -> int:
    info = redis.info("replication")
    return int(info["slave_repl_offset"] if info["role"] == "slave" else info["master_repl_offset"])


def raw(redis: Redis, *words: Any) -> Any:
    """Ask for a reply as it comes."""
    connection = redis.connection_pool.get_connection()
    try:
        connection.send_command(*words)
        return connection.read_response()
    finally:
        redis.connection_pool.release(connection)


@contextlib.contextmanager
def running_cluster(folder: Path, *, n_replicas: int = 0) -> Iterator[Cluster]:
    """Run a cluster until the block ends."""
    nodes = make_nodes(folder, N_NODES + n_replicas)
    with forming(Cluster(nodes[:N_NODES], nodes[N_NODES:])) as cluster:
        yield cluster


def make_nodes(folder: Path, n: int) -> list[Node]:
    """Make nodes, to be started."""
    return [Node(folder / str(number)) for number in range(n)]


@contextlib.contextmanager
def forming(cluster: Cluster) -> Iterator[Cluster]:
    """Run the nodes of a cluster until the block ends."""
    try:
        cluster.form()
        yield cluster
    finally:
        for node in [*cluster.nodes, *cluster.replicas]:
            node.kill()


@pytest.fixture(scope="session")
def shared_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """Run a cluster for the whole test run."""
    with running_cluster(tmp_path_factory.mktemp("cluster")) as cluster:
        yield cluster


@pytest.fixture
def cluster(shared_cluster: Cluster) -> Cluster:
    """Return the cluster, whole and empty; a test may kill its nodes and move its slots."""
    for node in shared_cluster.nodes:
        if node.process is None:
            node.start()
    shared_cluster.wait_until_whole()
    shared_cluster.empty()
    return shared_cluster
