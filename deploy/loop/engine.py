"""What a loop is run on: in this process, or against a live stack."""

from collections.abc import Mapping
from typing import Any, Protocol

import msgspec
import numpy.typing as npt

from deploy.loop.plays import Visits
from deploy.steps import Show

Arrays = Mapping[str, npt.NDArray[Any]]


class Trained(msgspec.Struct, frozen=True, kw_only=True):
    """A model version that serves.

    Attributes:
        version: Its id.
        arrays: As in `shared.artifacts.ModelVersion`.
        metrics: Of its evaluation.
        seconds: That its training took.
    """

    version: str
    arrays: Arrays
    metrics: dict[str, float]
    seconds: float


class Engine(Protocol):
    """Logs sessions and trains on the log."""

    def log_history(self, show: Show) -> Visits:
        """Log the history; return its sessions."""
        ...

    def train(self, day: int, show: Show) -> Trained:
        """Train on all that is logged, and let the treatment recommend from it."""
        ...

    def play_day(self, day: int, show: Show) -> Visits:
        """Let listeners meet both arms, and log it; return the sessions."""
        ...
