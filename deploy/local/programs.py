"""A stack of programs: how each is run, stopped, and asked whether it is ready."""

import asyncio
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import redis

from deploy.commands import ROOT
from deploy.local.settings import LocalSettings

PROBE_TIMEOUT_S = 2.0


def nothing() -> None:
    """Prepare or remove nothing."""


@dataclass(frozen=True, kw_only=True)
class Program:
    """One process that the supervisor runs.

    Attributes:
        name: As users call it.
        command: Runs it in the foreground.
        port: Where it listens, on loopback.
        is_ready: Asks the running program; never raises.
        wave: Programs of a wave start together, once all of the wave before are ready.
        prepare: Called before it starts, when it does not run.
        remove: Deletes data that lies outside the state folder.
        folder: Working folder.
        user: System user to run as; None for one's own.
        stop_signal: Asks it to stop.
        stop_timeout_s: After this it is killed.
        kill_group: Whether the kill includes its children, for those that do not notice by
            themselves.
    """

    name: str
    command: Sequence[str]
    port: int
    is_ready: Callable[[], bool]
    wave: int
    prepare: Callable[[], None] = nothing
    remove: Callable[[], None] = nothing
    folder: Path = ROOT
    user: str | None = None
    stop_signal: str = "TERM"
    stop_timeout_s: int = 20
    kill_group: bool = True


@dataclass(frozen=True, kw_only=True)
class Stack:
    """Programs that run together.

    Attributes:
        settings: Ports, state folder and environment.
        programs: In the order in which they start.
        make_world: Makes the world if it is absent; called before the services start.
    """

    settings: LocalSettings
    programs: Sequence[Program]
    make_world: Callable[[], None] = nothing

    @property
    def state(self) -> Path:
        """Folder of all data, logs and the supervisor's own files."""
        return self.settings.state

    def log(self, name: str) -> Path:
        """Return the log file of a program."""
        return self.state / "logs" / f"{name}.log"


def ready_check(url: str) -> Callable[[], bool]:
    """Return a check whether a service says that it is ready."""

    def is_ready() -> bool:
        try:
            with urllib.request.urlopen(f"{url}/health/ready", timeout=PROBE_TIMEOUT_S):  # noqa: S310
                return True
        except (OSError, ValueError):
            return False

    return is_ready


def answers_redis(url: str) -> bool:
    """Return whether a Redis answers and has read its data."""
    try:
        with redis.Redis.from_url(url, socket_timeout=PROBE_TIMEOUT_S) as connection:
            return bool(connection.ping())
    except redis.RedisError:
        return False


def answers_postgres(dsn: str) -> bool:
    """Return whether a Postgres accepts connections to the database."""

    async def connect() -> None:
        connection = await asyncpg.connect(dsn, timeout=PROBE_TIMEOUT_S)
        await connection.close()

    try:
        asyncio.run(connect())
    except (OSError, TimeoutError, asyncpg.PostgresError):
        return False
    return True
