"""What the logger needs of a database."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple, Protocol

from services.logger.core.validation import Batch, DeadLetter


class StoreUnavailableError(Exception):
    """The database cannot be used now; nothing is known to be stored, try the same again."""


@dataclass(frozen=True)
class StoreResult:
    """What became of a batch.

    Attributes:
        stored: Rows that are new.
        duplicates: Events that were there already, or twice in the batch.
        dead_letters: Payloads that cannot be stored.
    """

    stored: int
    duplicates: int
    dead_letters: list[DeadLetter]

    def __add__(self, other: "StoreResult") -> "StoreResult":
        """Sum two parts of one batch."""
        return StoreResult(
            self.stored + other.stored,
            self.duplicates + other.duplicates,
            self.dead_letters + other.dead_letters,
        )


class StoredDeadLetter(NamedTuple):
    """A row of `dead_letters`."""

    source: str
    entry_id: str | None
    payload: str
    reason: str
    received_at: datetime

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON's types."""
        return self._asdict() | {"received_at": self.received_at.isoformat()}


class EventStore(Protocol):
    """Where events become rows, exactly once."""

    async def store(self, batch: Batch, *, source: str) -> StoreResult:
        """Commit a batch: each event one row, or one dead letter.

        Raises:
            StoreUnavailableError: If it cannot be known that all is committed.
        """

    async def ping(self) -> None:
        """Raise StoreUnavailableError if the database cannot be used."""

    async def count_dead_letters(self) -> int:
        """Count what could not be stored."""

    async def fetch_dead_letters(self, *, limit: int) -> list[StoredDeadLetter]:
        """Return the newest dead letters, newest first."""
