"""Beliefs as named arrays, from which a killed training goes on to the same bits."""

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.checkpoints import Snapshot
from services.trainer.core.session.beliefs import Beliefs
from services.trainer.core.session.genres import Genres

# Made from the plays, which are there again.
FROM_PLAYS = {"artist", "logit", "side", "rounding", "track_of", "user_of", "first", "interest_of"}


def take_snapshot(beliefs: Beliefs, genres: Genres, *, n_done: int) -> Snapshot:
    """Return all that is believed after `n_done` iterations."""
    parts = {"beliefs": beliefs, "genres": genres}
    snapshot = {
        f"{part}.{name}": value.numpy()
        for part, owner in parts.items()
        for name, value in vars(owner).items()
        if isinstance(value, Tensor) and name not in FROM_PLAYS
    }
    return snapshot | {"n_done": np.array(n_done)}


def restore(beliefs: Beliefs, genres: Genres, snapshot: Snapshot) -> int:
    """Believe what a snapshot holds; return the iterations that it comes after."""
    beliefs.set_interests(snapshot["beliefs.interest_of_session"])
    parts = {"beliefs": beliefs, "genres": genres}
    for key, value in snapshot.items():
        part, _, name = key.partition(".")
        if part in parts:
            setattr(parts[part], name, torch.from_numpy(value.copy()))
    return int(snapshot["n_done"])
