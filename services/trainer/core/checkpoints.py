"""Where a training can go on after it was killed: named arrays, tied to what it learns from."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from services.trainer.core.parameters import TrainingParameters
from services.trainer.core.playbacks import PlaybackLog

Snapshot = Mapping[str, npt.NDArray[Any]]

# They choose what is read and what becomes of the version, not what is learnt.
NOT_LEARNT_FROM = ("engine", "source", "since", "until", "window_days", "promote")


class CheckpointStore(Protocol):
    """Keeps the newest checkpoint of a training."""

    def load(self, fingerprint: str) -> Snapshot | None:
        """Return what was saved under the same fingerprint, if it is there and whole."""

    def save(self, fingerprint: str, snapshot: Snapshot) -> None:
        """Replace the checkpoint; never raise for want of space: the training can go on."""


class NoCheckpoints:
    """Keeps nothing."""

    def load(self, fingerprint: str) -> None:
        """Return nothing."""

    def save(self, fingerprint: str, snapshot: Snapshot) -> None:
        """Do nothing."""


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training."""

    store: CheckpointStore
    fingerprint: str

    def load(self) -> Snapshot | None:
        """Return where to go on, if anywhere."""
        return self.store.load(self.fingerprint)

    def save(self, snapshot: Snapshot) -> None:
        """Say where to go on."""
        self.store.save(self.fingerprint, snapshot)


def take_fingerprint(
    log: PlaybackLog,
    *,
    catalog_checksum: str,
    parameters: TrainingParameters,
    warm: Snapshot | None,
) -> str:
    """Name all that a training learns from: another log or parameter gives another name."""
    digest = hashlib.sha256(catalog_checksum.encode())
    told = {k: v for k, v in asdict(parameters).items() if k not in NOT_LEARNT_FROM}
    digest.update(repr(sorted(told.items())).encode())
    for column in (log.sessions, log.positions, log.tracks, log.times, log.users):
        digest.update(np.ascontiguousarray(column).data)
    for name, array in sorted((warm or {}).items()):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()
