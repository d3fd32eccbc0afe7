"""Where the beliefs start from: embeddings by gradient descent.

    logit = s_u <e_t, e_f> - o_u,   e_t = own_t + artist_a(t)

The session's interest is taken to be its first track f; beliefs then tell the two apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from services.trainer.core.parameters import Report
from services.trainer.core.playbacks import IntArray
from services.trainer.core.session.likelihood import CensoredLoss
from services.trainer.core.session.plays import Plays

N_EPOCHS = 6
LEARNING_RATE = 0.025
LARGEST_BATCH, SMALLEST_BATCH, MIN_STEPS = 16384, 256, 50
NOISE = 6.0  # variance of a logit around this rough model; less of it overfits
MAX_ROUNDING = 4.0
PENALTY_OWN, PENALTY_ARTIST = 1.2, 0.2  # per dimension, of half a squared coordinate
OWN_SCALE, ARTIST_SCALE = 0.1, 0.5  # of the first draw
SLOPE_VARIANCE = 0.15  # of its logarithm around 0
FIRST_OFFSET, OFFSET_MEAN, OFFSET_VARIANCE = 4.0, 5.5, 16.0


@dataclass(frozen=True)
class Start:
    """A model to start from.

    Attributes:
        track: Embeddings, (n_tracks, dim).
        slope, offset: Of users, (n_users,).
        interest_centre: Of interests, (dim,).
    """

    track: Tensor
    slope: Tensor
    offset: Tensor
    interest_centre: Tensor


class RoughModel:
    """The parameters, and the loss of a batch."""

    def __init__(self, plays: Plays, artist_rows: IntArray, *, dim: int, seed: int) -> None:
        """Draw the parameters."""
        generator = torch.Generator().manual_seed(seed)
        n_artists = int(artist_rows.max()) + 1
        self.artist = torch.from_numpy(artist_rows).long()
        self.own = OWN_SCALE * torch.randn(len(artist_rows), dim, generator=generator)
        self.group = ARTIST_SCALE * torch.randn(n_artists, dim, generator=generator)
        self.log_slope = torch.zeros(plays.n_users)
        self.offset = torch.full((plays.n_users,), FIRST_OFFSET)
        for parameter in self.parameters():
            parameter.requires_grad_()
        self.dim, self.generator, self.n_plays = dim, generator, len(plays)
        self.first = torch.from_numpy(plays.first[plays.session])
        self.track, self.user = torch.from_numpy(plays.track), torch.from_numpy(plays.user)
        self.logit, self.side = torch.from_numpy(plays.logit), torch.from_numpy(plays.side)
        self.variance = torch.from_numpy(plays.rounding).clamp(max=MAX_ROUNDING) + NOISE

    def parameters(self) -> list[Tensor]:
        """Return what is fitted."""
        return [self.own, self.group, self.log_slope, self.offset]

    def measure(self, batch: Tensor) -> Tensor:
        """Return the mean loss of plays, (), without the penalties."""
        first, track, user = self.first[batch], self.track[batch], self.user[batch]
        anchor = self.own[first] + self.group[self.artist[first]]
        follower = self.own[track] + self.group[self.artist[track]]
        product = (anchor * follower).sum(1)
        predicted = torch.exp(self.log_slope[user]) * product - self.offset[user]
        parts = (self.logit[batch], self.side[batch], self.variance[batch])
        loss: Tensor = CensoredLoss.apply(predicted, *parts)  # type: ignore[no-untyped-call]
        return loss.mean()

    def penalise(self) -> Tensor:
        """Return the penalties, (): minus the log prior."""
        embedding = PENALTY_OWN * (self.own**2).sum() + PENALTY_ARTIST * (self.group**2).sum()
        slope = (self.log_slope**2).sum() / SLOPE_VARIANCE
        offset = ((self.offset - OFFSET_MEAN) ** 2).sum() / OFFSET_VARIANCE
        return 0.5 * (self.dim * embedding + slope + offset)


def continue_from(arrays: Mapping[str, npt.NDArray[Any]], plays: Plays) -> Start:
    """Start from the vectors and listeners of an earlier version; new listeners are average.

    It saves the rough model, and iterations; it is no memory: what is believed in the end comes
    from the plays alone.

    Args:
        arrays: Of a version of the recipe `session`, of the same catalogue.
        plays: To fit.
    """
    user_ids, listeners = arrays["user_ids"], arrays["user_listener"]
    rows = np.searchsorted(user_ids, plays.user_ids)
    is_known = np.append(user_ids, -1)[rows] == plays.user_ids
    known = torch.from_numpy(listeners[np.where(is_known, rows, -1)])
    track = torch.from_numpy(arrays["track_embedding"]).clone()
    centre = torch.from_numpy(arrays["interest_prior"][0]).clone()
    return Start(track, known[:, 0].clone(), known[:, 1].clone(), centre)


def no_start(plays: Plays, artist_rows: IntArray, *, dim: int) -> Start:
    """Return a start of the right shapes, for beliefs that are then restored."""
    zero = torch.zeros(len(artist_rows), dim)
    nobody = torch.zeros(plays.n_users)
    return Start(zero, nobody, nobody.clone(), torch.zeros(dim))


def fit_start(plays: Plays, artist_rows: IntArray, *, dim: int, seed: int, report: Report) -> Start:
    """Fit the rough model by Adam under a one-cycle learning rate.

    Args:
        plays: To fit.
        artist_rows: Artist per catalogue row.
        dim: Of the embeddings.
        seed: Of the draw and of the order of plays.
        report: Told the loss of every epoch.

    Source: Smith and Topin (2019), Super-Convergence.
    """
    model = RoughModel(plays, artist_rows, dim=dim, seed=seed)
    batch_size = min(LARGEST_BATCH, max(SMALLEST_BATCH, len(plays) // MIN_STEPS))
    n_steps = N_EPOCHS * -(-len(plays) // batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, LEARNING_RATE, total_steps=n_steps + 1, pct_start=0.15
    )
    for epoch in range(1, N_EPOCHS + 1):
        total = 0.0
        order = torch.randperm(len(plays), generator=model.generator)
        for batch in torch.split(order, batch_size):
            data = model.measure(batch)
            optimiser.zero_grad()
            (data + model.penalise() / len(plays)).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            total += float(data.detach()) * len(batch)
        report("training", start_epoch=epoch, start_loss=total / len(plays))
    with torch.no_grad():
        track = model.own + model.group[model.artist]
        first = torch.from_numpy(plays.first)
        centre = track[first].mean(0)  # interests are taken to be first tracks
        return Start(track, torch.exp(model.log_slope), model.offset.detach(), centre)
