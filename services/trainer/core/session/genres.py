"""Artists under a mixture of genres, by expectation maximisation on what tracks tell of artists."""

import numpy as np
import torch
from torch import Tensor

from services.trainer.core.session.covariances import invert_

N_ROUNDS = 3  # of expectation maximisation, per update
N_KMEANS = 15
GENRE_PRIOR = 3.0  # artists' worth of pull to the centre
ARTIST_BLOCK = 1024
MIN_ARTISTS = 8  # per genre, to look for that many


class Genres:
    """The prior of artists: one normal until `start` is asked for, then a mixture.

    Attributes:
        centre: Of all artists, (d,).
        means: Of the genres, (n_genres, d); None before the mixture starts.
        shares: Of the genres, (n_genres,).
    """

    def __init__(self, *, dim: int, variance: float, within: float, n_genres: int, seed: int):
        """Begin with one normal of this variance of a coordinate.

        Args:
            dim: d.
            variance: Of an artist's coordinate.
            within: Share of it that stays once the genre is known.
            n_genres: At most.
            seed: Of the genres' first means.
        """
        self.variance, self.within, self.n_genres, self.seed = variance, within, n_genres, seed
        self.centre = torch.zeros(dim)
        self.means: Tensor | None = None
        self.shares = torch.ones(1)
        self.wants_mixture = False

    def update(self, precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
        """Update artists, and then the prior.

        Args:
            precision: What tracks tell, (n_artists, d, d); overwritten.
            pull: Precision times mean of the same, (n_artists, d).

        Returns:
            Means (n_artists, d) and covariances (n_artists, d, d).
        """
        if self.means is None and self._starts(len(pull)):
            known = precision.diagonal(dim1=1, dim2=2).sum(1)
            self._find_genres(self._update_normal(precision.clone(), pull)[0], known)
        if self.means is None:
            mean, covariance = self._update_normal(precision, pull)
            self.centre = mean.mean(0)
            return mean, covariance
        return self._update_mixture(precision, pull)

    def _starts(self, n_artists: int) -> bool:
        self.n_genres = min(self.n_genres, n_artists // MIN_ARTISTS)
        return self.wants_mixture and self.n_genres > 1

    def _update_normal(self, precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
        own = 1 / self.variance
        covariance = _invert_with(own, precision)
        return (covariance @ (pull + own * self.centre)[..., None])[..., 0], covariance

    def _update_mixture(self, precision: Tensor, pull: Tensor) -> tuple[Tensor, Tensor]:
        """Mix over genres: an artist's covariance includes the doubt about its genre.

        Under genre g with prior precision p, b = pull + p G_g has the posterior mean V b and, up to
        what is equal for all g, the log evidence (b' V b - p |G_g|^2) / 2.
        """
        assert self.means is not None  # noqa: S101 - `update` sees to it
        own = 1 / (self.variance * self.within)
        dim = len(self.centre)
        covariance = _invert_with(own, precision)
        flat = covariance.flatten(1)  # (n_artists, d * d)
        told = (covariance @ pull[..., None])[..., 0]
        for _ in range(N_ROUNDS):
            # b' V b without pull' V pull; only products of matrices, none of (n, n_genres, d).
            squares = _outer(self.means).flatten(1)
            bent = flat @ (0.5 * own**2 * squares.T) + told @ (own * self.means.T)
            evidence = bent - 0.5 * own * (self.means**2).sum(1)
            share = torch.softmax(evidence + self.shares.log(), 1)
            count = share.sum(0)
            self.shares = (count + 1) / (count + 1).sum()
            pushed = ((share.T @ flat).view(-1, dim, dim) @ self.means[..., None])[..., 0]
            total = share.T @ told + own * pushed + GENRE_PRIOR * self.centre
            self.means = total / (count + GENRE_PRIOR)[:, None]
        expected = share @ self.means
        mean = told + own * (covariance @ expected[..., None])[..., 0]
        squares = _outer(self.means).flatten(1)
        for begin in range(0, len(pull), ARTIST_BLOCK):
            rows = slice(begin, begin + ARTIST_BLOCK)
            doubt = (share[rows] @ squares).view(-1, dim, dim) - _outer(expected[rows])
            part = covariance[rows]
            covariance[rows] = part + own**2 * part @ doubt @ part
        return mean, covariance

    def _find_genres(self, artists: Tensor, known: Tensor) -> None:
        """Start the genres by k-means, from k-means++, on the artists known best.

        Args:
            artists: Means, (n_artists, d).
            known: How much is known of each, (n_artists,).

        Source: Arthur and Vassilvitskii (2007), k-means++.
        """
        weight = known / (known + known.median())
        rng = np.random.default_rng(self.seed)
        chosen = [artists[rng.choice(len(weight), p=_normalise(weight))]]
        near = weight * ((artists - chosen[0]) ** 2).sum(1)
        while len(chosen) < self.n_genres and float(near.sum()) > 0:
            chosen.append(artists[rng.choice(len(weight), p=_normalise(near))])
            near = torch.minimum(near, weight * ((artists - chosen[-1]) ** 2).sum(1))
        means = torch.stack(chosen)
        for _ in range(N_KMEANS):
            nearest = torch.cdist(artists, means).argmin(1)
            one = torch.nn.functional.one_hot(nearest, len(means)) * weight[:, None]
            count = one.sum(0)
            means = (one.T @ artists + 1e-3 * means) / (count + 1e-3)[:, None]
        self.centre, self.means = artists.mean(0), means
        self.shares = (count + 1) / (count + 1).sum()


def _invert_with(own: float, precision: Tensor) -> Tensor:
    """Add a prior's precision, and invert, both in place."""
    precision.diagonal(dim1=1, dim2=2).add_(own)
    invert_(precision)
    return precision


def _outer(vectors: Tensor) -> Tensor:
    """Return v v' per vector, (n, d, d)."""
    return vectors[:, :, None] * vectors[:, None]


def _normalise(weight: Tensor) -> np.ndarray:
    p = weight.double().clamp(min=0).numpy()
    normalised: np.ndarray = p / p.sum()
    return normalised
