"""Hanging up on clients that take too long."""

import asyncio
import enum
from collections.abc import Callable, Mapping
from typing import Protocol

LINGER_S = 5.0
ANSWER_S = 60.0
_LOOK_EVERY_S = 1.0


class Phase(enum.Enum):
    """What a connection waits for."""

    IDLE = "the first byte of a request"
    RECEIVING = "the rest of a request"
    ANSWERING = "the answer, and the client to read it"
    LINGERING = "the client to read a refusal and hang up"


class Watched(Protocol):
    """A connection.

    Attributes:
        phase: What it waits for.
        since: When it began to.
    """

    phase: Phase
    since: float

    def give_up(self) -> None:
        """End it."""


class ConnectionWatch:
    """Keeps the time limits of all connections by one look a second, without a timer for each."""

    def __init__(self, *, request_s: float, idle_s: float, seconds: Callable[[], float]) -> None:
        """Watch nothing yet.

        Args:
            request_s: From the first byte of a request to its last.
            idle_s: Between two requests, and before the first.
            seconds: A monotonic clock.
        """
        self.seconds = seconds
        self.connections: set[Watched] = set()
        self._limits_s: Mapping[Phase, float] = {
            Phase.IDLE: idle_s,
            Phase.RECEIVING: request_s,
            Phase.ANSWERING: ANSWER_S,
            Phase.LINGERING: LINGER_S,
        }

    async def look_regularly(self) -> None:
        """Look once a second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self.look()

    def look(self) -> None:
        """Give up the connections that wait for too long."""
        now = self.seconds()
        for connection in list(self.connections):
            if now - connection.since > self._limits_s[connection.phase]:
                connection.give_up()
