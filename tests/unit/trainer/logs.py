"""Made-up logs and catalogues for the trainer's tests."""

from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import PLAYBACK
from shared.catalog import Catalog, Track, make_catalog

N_BLOCKS = 4
TRACKS_PER_BLOCK = 12
ARTISTS_PER_BLOCK = 4


def make_blocks() -> Catalog:
    """Make a catalogue of blocks; track ids are not row numbers."""
    return make_catalog(
        Track(
            track=1000 + 7 * row,
            artist=f"artist {block_of(row)}/{row % ARTISTS_PER_BLOCK}",
            title=f"title {row}",
        )
        for row in range(N_BLOCKS * TRACKS_PER_BLOCK)
    )


def block_of(row: Any) -> Any:
    """Return the block of a row."""
    return row // TRACKS_PER_BLOCK


def make_playbacks(rows: list[tuple[int, int, int, int, float, int]]) -> npt.NDArray[Any]:
    """Make playbacks of (session, position, user, track, time, at)."""
    playbacks = np.zeros(len(rows), PLAYBACK)
    for i, (session, position, user, track, time, at) in enumerate(rows):
        playbacks[i] = (0, session, position, user, track, time, at)
    return playbacks


def make_block_playbacks(
    catalog: Catalog, *, n_sessions: int = 400, length: int = 6, seed: int = 0
) -> npt.NDArray[Any]:
    """Make sessions whose listeners play 0.9 of their first track's block, and 0.05 of others."""
    rng = np.random.default_rng(seed)
    rows = rng.integers(0, len(catalog), (n_sessions, length))
    times = np.where(block_of(rows) == block_of(rows[:, :1]), 0.9, 0.05)
    times[:, 0] = 1.0
    playbacks = np.zeros((n_sessions, length), PLAYBACK)
    playbacks["session_high"] = rng.integers(-(2**62), 2**62, (n_sessions, 1))
    playbacks["position"] = np.arange(length)
    playbacks["user"] = rng.integers(0, 50, (n_sessions, 1))
    playbacks["track"] = catalog.track_ids[rows]
    playbacks["time"] = times
    playbacks["at"] = 1_700_000_000_000_000 + (
        np.arange(n_sessions)[:, None] * 60_000_000 + np.arange(length) * 1_000_000
    )
    return playbacks.reshape(-1)
