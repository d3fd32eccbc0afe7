"""A small world of the simulator's, its history as a trainer's log, and the truth behind it."""

import functools
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from services.trainer.core.playbacks import PLAYBACK, PlaybackLog, make_log
from services.trainer.core.session.plays import Plays
from shared.catalog import Catalog
from simulator.core.draws import episode_keys
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import ListenerDefaults, make_listeners
from simulator.core.world import World, WorldParameters, interest_rows, make_world
from simulator.history import play_history

SEED = 3
N_SESSIONS = 6000


@dataclass(frozen=True)
class Planted:
    """What the trainer may see, and per session the truth.

    Attributes:
        catalog, log: For the trainer.
        playbacks: The log before it was ordered.
        world: The truth.
        interest: Catalogue row of each session's interest, by the log's numbering.
    """

    catalog: Catalog
    log: PlaybackLog
    playbacks: npt.NDArray[Any]
    world: World
    interest: npt.NDArray[np.int32]


@functools.cache
def plant(gamma: float = 0.8) -> Planted:
    """Make a world of 2,000 tracks and play its history."""
    world = make_world(
        WorldParameters(n_tracks=2000, n_artists=200, n_users=300, n_genres=8, seed=SEED)
    )
    defaults = ListenerDefaults(artist_discount_gamma=gamma)
    dynamics = Dynamics(
        embeddings=world.embeddings,
        artist_rows=world.catalog.artist_rows,
        listeners=make_listeners(world.users, interest_rows(world.catalog, world.users), defaults),
    )
    parts = play_history(dynamics, seed=SEED, n_sessions=N_SESSIONS).parts
    playbacks = np.zeros(sum(map(len, parts)), PLAYBACK)
    playbacks["session_low"] = np.concatenate([part.episode for part in parts])
    for name in ("position", "track", "time"):
        playbacks[name] = np.concatenate([getattr(part, name) for part in parts])
    playbacks["track"] = world.catalog.track_ids[playbacks["track"]]
    playbacks["user"] = 11 + 7 * np.concatenate([part.user for part in parts])  # ids are no rows
    playbacks["at"] = playbacks["session_low"] * 60_000_000 + playbacks["position"]
    _, interest = dynamics.draw_interests(episode_keys(SEED, np.arange(N_SESSIONS)))
    return Planted(world.catalog, make_log(playbacks), playbacks, world, interest)


def true_logits(planted: Planted, plays: Plays) -> npt.NDArray[np.float64]:
    """Return sharpness (<track, interest> - bias) of each play."""
    embeddings = planted.world.embeddings.astype(np.float64)
    interest = embeddings[planted.interest[plays.session]]
    users = {11 + 7 * user.user: user for user in planted.world.users}
    bias, sharpness = (
        np.array([getattr(users[int(id_)], name) for id_ in plays.user_ids])[plays.user]
        for name in ("consume_bias", "consume_sharpness")
    )
    return sharpness * ((embeddings[plays.track] * interest).sum(1) - bias)


def select(plays: Plays, chosen: npt.NDArray[np.bool_]) -> Plays:
    """Return some plays of the same sessions."""
    names = ("session", "user", "track", "logit", "rounding", "side")
    return replace(plays, **{name: getattr(plays, name)[chosen] for name in names})
