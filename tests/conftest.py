"""Fixtures: a real Valkey and a real Postgres on free ports, started once per run."""

import asyncio
import contextlib
import os
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import asyncpg
import pytest
from hypothesis import settings as property_settings
from redis import Redis as SyncRedis
from redis.asyncio import Redis
from xdist.scheduler import LoadFileScheduling

import services.trainer  # noqa: F401 - says how torch's threads wait, before it is loaded
from deploy.local.servers import PostgresServer, ValkeyServer
from services.logger.adapters.migrate import migrate, wait_for_postgres

pytest_plugins = ["tests.cluster", "tests.on_ray"]

# No deadline: how long an example takes says how busy the machine is. What fifty examples miss,
# `pytest --hypothesis-profile thorough` looks for.
property_settings.register_profile("suite", deadline=None, max_examples=50)
property_settings.register_profile("thorough", deadline=None, max_examples=1_000)
property_settings.load_profile("suite")


class FileScheduling(LoadFileScheduling):
    """Keeps a file in one process, and all of e2e, whose tests share a stack and take turns."""

    def _split_scope(self, nodeid: str) -> str:
        path = str(super()._split_scope(nodeid))
        return "tests/e2e" if path.startswith("tests/e2e/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> FileScheduling:
    """Say which tests of several processes (`pytest -n 2`) stay together."""
    return FileScheduling(config, log)


EMPTY_EVERY_TABLE = """
DO $$
DECLARE
    tables text;
BEGIN
    SELECT string_agg(format('%I.%I', schemaname, tablename), ', ') INTO tables
    FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version';
    EXECUTE 'TRUNCATE ' || tables || ' RESTART IDENTITY CASCADE';
END $$
"""


def free_port() -> int:
    """Return a port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_port(port: int, process: subprocess.Popen[bytes], *, timeout_s: float = 30) -> None:
    """Wait until something listens, or fail with what the process left."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        if process.poll() is not None:
            raise RuntimeError(f"{process.args!r} exited with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on port {port}")


@contextlib.contextmanager
def running(
    command: list[str], *, port: int, log: Path, user: str | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command, stdout=output, stderr=subprocess.STDOUT, user=user, cwd="/"
        )
    try:
        wait_for_port(port, process)
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture(scope="session")
def valkey(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ValkeyServer]:
    """Run a real Valkey for the whole test run."""
    folder = tmp_path_factory.mktemp("valkey")
    server = ValkeyServer(port=free_port(), folder=folder / "data")
    server.prepare()
    with running(server.command(), port=server.port, log=folder / "log"):
        yield server


@pytest.fixture
async def redis(valkey: ValkeyServer) -> AsyncIterator[Redis]:
    """Return a connection to an empty Valkey."""
    with SyncRedis.from_url(valkey.url) as sync:
        sync.flushall()
    async with Redis.from_url(valkey.url) as connection:
        yield connection


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """Run a real Postgres for the whole test run; its database starts empty."""
    folder = tmp_path_factory.mktemp("postgres")
    server = PostgresServer(port=free_port(), folder=folder / "data")
    server.prepare()
    try:
        # Killed servers are in the tests, crashed machines are not: nothing waits for the disk.
        command = [*server.command(), "-c", "fsync=off"]
        with running(command, port=server.port, log=folder / "log", user=server.system_user):
            # It listens before it is ready; and an outage here would fail hundreds of tests.
            asyncio.run(wait_for_postgres(server.dsn, timeout_s=120))
            yield server
    finally:
        server.remove()


@pytest.fixture(scope="session")
def migrated(postgres: PostgresServer) -> PostgresServer:
    """Return the Postgres with its schema at the newest revision."""
    migrate(postgres.dsn)
    return postgres


@pytest.fixture
async def database(migrated: PostgresServer) -> PostgresServer:
    """Return the migrated Postgres with every table empty."""
    connection = await asyncpg.connect(migrated.dsn)
    try:
        await connection.execute(EMPTY_EVERY_TABLE)
    finally:
        await connection.close()
    return migrated


@pytest.fixture(scope="session")
def botify_data() -> Path:
    """Return the folder of botify's own files, or skip."""
    folder = Path(
        os.environ.get("SEGUE_BOTIFY_DATA", Path(__file__).parents[2] / "shared/data/botify")
    )
    if not folder.is_dir():
        pytest.skip(f"botify's data is not here: {folder} (set SEGUE_BOTIFY_DATA)")
    return folder
