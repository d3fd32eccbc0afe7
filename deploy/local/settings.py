"""What the local stack reads from the environment and `.env`: its ports and its folder."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from dotenv import dotenv_values

from deploy.commands import ROOT

# Programs in the order in which they start, with their usual ports. A service that is added here
# is run as `python -m services.<name>` and is part of every command of the stack.
SERVERS = {"redis": 6379, "postgres": 5432}
SERVICES = {"logger": 5003, "recommender": 5001, "trainer": 5002, "dashboard": 5004}

# When Redis flushes its log to the disk. `everysec` is not offered: with it a killed Redis loses
# what it acknowledged while a flush was under way (`python -m benchmarks.durability`).
APPENDFSYNC_SETTING = "SEGUE_REDIS_APPENDFSYNC"
APPENDFSYNC = ("no", "always")


class SettingsError(ValueError):
    """A setting that cannot be used; the message names it."""


@dataclass(frozen=True)
class LocalSettings:
    """Where the stack listens and keeps its state.

    Attributes:
        state: Folder of all data, logs and the supervisor's own files.
        ports: Port per program.
        appendfsync: Whether Redis flushes each write to the disk, or leaves that to the system.
        environment: What the programs are started with.
    """

    state: Path
    ports: Mapping[str, int]
    environment: Mapping[str, str]
    appendfsync: str = APPENDFSYNC[0]

    def url(self, service: str) -> str:
        """Return where a service is reached."""
        return f"http://127.0.0.1:{self.ports[service]}"


def port_setting(name: str) -> str:
    """Return the variable that sets a program's port."""
    return f"SEGUE_{name.upper()}_PORT"


def read_environment(root: Path = ROOT) -> dict[str, str]:
    """Read the environment over the root's `.env`."""
    file = {key: value for key, value in dotenv_values(root / ".env").items() if value is not None}
    return file | dict(os.environ)


def parse_settings(environment: Mapping[str, str], root: Path = ROOT) -> LocalSettings:
    """Read the stack's settings from an environment.

    Raises:
        SettingsError: If a port is not one, two programs share one, or Redis knows no such flush.
    """
    ports: dict[str, int] = {}
    for name, usual in (SERVERS | SERVICES).items():
        setting = port_setting(name)
        port = _parse_port(setting, environment.get(setting) or str(usual))
        twin = next((other for other, taken in ports.items() if taken == port), None)
        if twin is not None:
            raise SettingsError(f"{port_setting(twin)} and {setting} are both {port}")
        ports[name] = port
    state = root / Path(environment.get("SEGUE_STATE") or ".segue").expanduser()
    appendfsync = environment.get(APPENDFSYNC_SETTING) or APPENDFSYNC[0]
    if appendfsync not in APPENDFSYNC:
        choices = " or ".join(APPENDFSYNC)
        raise SettingsError(f"{APPENDFSYNC_SETTING} is {appendfsync!r}, not {choices}")
    return LocalSettings(
        state=state.resolve(),
        ports=ports,
        environment=dict(environment),
        appendfsync=appendfsync,
    )


def _parse_port(setting: str, text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or not 0 < int(text) < 2**16:
        raise SettingsError(f"{setting} is {text!r}: a port is a number from 1 to 65535")
    return int(text)
