"""Small worlds for tests."""

import numpy as np

from shared.catalog import Track, make_catalog
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import User
from simulator.core.world import World, WorldParameters, make_dynamics, make_world

SMALL = WorldParameters(n_tracks=400, n_artists=40, n_users=60, seed=5)


def make_small_world(seed: int = 5) -> World:
    """Make a standard world of 400 tracks and 60 users."""
    return make_world(WorldParameters(n_tracks=400, n_artists=40, n_users=60, seed=seed))


def make_small_dynamics(seed: int = 5) -> Dynamics:
    """Bring the small world to life."""
    return make_dynamics(make_small_world(seed))


def make_flat_dynamics(
    n_tracks: int = 12, n_artists: int = 4, *, bias: float = 0.0, budget: int = 5
) -> Dynamics:
    """Make a world where every score is 0: the time depends on the bias and the artist alone."""
    tracks = [Track(row, f"artist {row % n_artists}", f"title {row}") for row in range(n_tracks)]
    users = (User(0, (0,), bias, 1.0, session_budget=budget),)
    return make_dynamics(
        World(make_catalog(tracks), np.zeros((n_tracks, 3), dtype=np.float32), users)
    )
