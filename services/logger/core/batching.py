"""When a batch is worth a commit: at so many events, or when the first has waited so long."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass
class BatchBuffer(Generic[T]):
    """What waits for the next commit.

    Attributes:
        max_size: Commit at that many.
        max_wait_s: Commit when the first has waited that long.
    """

    max_size: int
    max_wait_s: float
    _items: list[T] = field(default_factory=list)
    _due_at: float | None = None

    def __len__(self) -> int:
        return len(self._items)

    @property
    def room(self) -> int:
        """How many more fit into the batch."""
        return max(0, self.max_size - len(self._items))

    def add(self, items: Sequence[T], *, now: float) -> None:
        """Put items in; `now` on a monotonic clock, in seconds."""
        if items and self._due_at is None:
            self._due_at = now + self.max_wait_s
        self._items.extend(items)

    def remaining_s(self, *, now: float) -> float | None:
        """How long until the batch is due: 0 if it is, None if it is empty."""
        if self._due_at is None:
            return None
        return 0.0 if self.room == 0 else max(0.0, self._due_at - now)

    def take(self) -> list[T]:
        """Empty the buffer."""
        items, self._items, self._due_at = self._items, [], None
        return items
