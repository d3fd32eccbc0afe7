"""Ids of model versions, and the way back through those that served."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime


def make_version_id(created_at: datetime, suffix: str) -> str:
    """Make an id that sorts by time and can be read: `20261124T073015Z-a1b2c3`.

    Args:
        created_at: Aware time.
        suffix: Tells apart what is made in one second; its first six characters are used.
    """
    return f"{created_at.astimezone(UTC):%Y%m%dT%H%M%SZ}-{suffix[:6]}"


def find_previous(history: Sequence[str], available: Collection[str]) -> str | None:
    """Find the version to roll back to.

    Going back to the version before is a step back and not a new step forward: after A, B, C and
    a rollback to B, the next rollback leads to A and not to C again.

    Args:
        history: Versions in the order of their activations.
        available: Versions that can still be activated.

    Returns:
        None if no earlier version is available.
    """
    path: list[str] = []
    for version in history:
        if version in path:
            del path[path.index(version) :]
        path.append(version)
    earlier = path[:-1]
    return next((version for version in reversed(earlier) if version in available), None)
