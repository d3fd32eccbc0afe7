"""Listeners: what a user likes, and the tracks nearest to it that start a session."""

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
import numpy.typing as npt

from shared.events import Id

IntArray = npt.NDArray[np.int32]
Float32Array = npt.NDArray[np.float32]
FloatArray = npt.NDArray[np.float64]

_GROUP = 64  # tracks whose best score stands for all of them in the first pass
_SPARE = 6  # ranks kept beyond those asked for, so that rounding cannot decide the last
_BLOCK_BYTES = 64_000_000

Fraction = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Count = Annotated[int, msgspec.Meta(ge=1)]


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of botify's `users.json`; what is None takes the world's default."""

    user: Id
    interests: Annotated[tuple[Id, ...], msgspec.Meta(min_length=1)]
    consume_bias: float | None = None
    consume_sharpness: float | None = None
    interest_neighbours: Count | None = None
    session_budget: Count | None = None
    artist_discount_gamma: Fraction | None = None


class ListenerDefaults(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a user's line leaves open.

    Attributes:
        interest_neighbours: Tracks near the interest that may start a session.
        consume_bias: Score at which half of a track is listened to.
        consume_sharpness: Slope there.
        session_budget: Disappointments until the session ends.
        artist_discount_gamma: Factor on the time per earlier track of the same artist.

    Source: botify's configuration.
    """

    interest_neighbours: Count = 10
    consume_bias: float = 5.0
    consume_sharpness: float = 1.0
    session_budget: Count = 5
    artist_discount_gamma: Fraction = 0.8


class Listeners(msgspec.Struct, frozen=True, kw_only=True):
    """All users as arrays, row i is user `ids[i]`.

    Attributes:
        ids: int32 (n_users,).
        interests: Catalogue rows, int32 (n_users, most interests), -1 pads.
        n_interests, neighbours, budget: int32 (n_users,).
        bias, sharpness, gamma: float64 (n_users,).
    """

    ids: IntArray
    interests: IntArray
    n_interests: IntArray
    neighbours: IntArray
    budget: IntArray
    bias: FloatArray
    sharpness: FloatArray
    gamma: FloatArray

    def __len__(self) -> int:
        return len(self.ids)


def make_listeners(
    users: Sequence[User], interest_rows: Sequence[IntArray] | IntArray, defaults: ListenerDefaults
) -> Listeners:
    """Lay users out as arrays.

    Args:
        users: In row order.
        interest_rows: Catalogue rows of each user's interests.
        defaults: For what a user leaves open.
    """
    n_interests = np.array([len(rows) for rows in interest_rows], dtype=np.int32)
    interests = np.full((len(users), int(n_interests.max())), -1, dtype=np.int32)
    filled = np.arange(interests.shape[1]) < n_interests[:, None]
    interests[filled] = np.concatenate(list(interest_rows))

    def column(name: str, dtype: type) -> npt.NDArray[np.generic]:
        default = getattr(defaults, name)
        values = [getattr(user, name) for user in users]
        return np.array([default if value is None else value for value in values], dtype=dtype)

    return Listeners(
        ids=np.array([user.user for user in users], dtype=np.int32),
        interests=interests,
        n_interests=n_interests,
        neighbours=column("interest_neighbours", np.int32),  # type: ignore[arg-type]
        budget=column("session_budget", np.int32),  # type: ignore[arg-type]
        bias=column("consume_bias", np.float64),  # type: ignore[arg-type]
        sharpness=column("consume_sharpness", np.float64),  # type: ignore[arg-type]
        gamma=column("artist_discount_gamma", np.float64),  # type: ignore[arg-type]
    )


class NearestTracks:
    """The tracks with the largest inner product with a track, itself included; found once.

    As in botify's index. A track's own product can be beaten: the norms differ.
    """

    def __init__(self, embeddings: Float32Array, n_nearest: int) -> None:
        """Prepare; nothing is computed yet.

        Args:
            embeddings: float32 (n_tracks, dim).
            n_nearest: Tracks to find per track; fewer if the catalogue is smaller.
        """
        self._embeddings = embeddings
        self._n_nearest = min(n_nearest, len(embeddings))
        self._place = np.full(len(embeddings), -1, dtype=np.int32)
        self._found = np.empty((0, self._n_nearest), dtype=np.int32)

    @property
    def n_nearest(self) -> int:
        """Tracks found per track."""
        return self._n_nearest

    def find(self, rows: IntArray) -> IntArray:
        """Find the nearest of some tracks.

        Returns:
            Rows, best first, shape (len(rows), n_nearest).
        """
        wanted = np.unique(rows)
        new = wanted[self._place[wanted] < 0]
        if len(new):
            self._place[new] = len(self._found) + np.arange(len(new), dtype=np.int32)
            self._found = np.concatenate([self._found, self._search(new)])
        return self._found[self._place[rows]]

    def _search(self, rows: IntArray) -> IntArray:
        block = max(1, _BLOCK_BYTES // (4 * len(self._embeddings)))
        return np.concatenate(
            [self._search_block(rows[i : i + block]) for i in range(0, len(rows), block)]
        )

    def _search_block(self, rows: IntArray) -> IntArray:
        n_tracks = len(self._embeddings)
        n_groups = -(-n_tracks // _GROUP)
        scores = np.full((len(rows), n_groups * _GROUP), -np.inf, dtype=np.float32)
        np.matmul(self._embeddings[rows], self._embeddings.T, out=scores[:, :n_tracks])
        # The k best tracks lie in the k groups with the best bests.
        n_kept = min(self._n_nearest + _SPARE, n_groups)
        bests = scores.reshape(len(rows), n_groups, _GROUP).max(axis=2)
        groups = np.argpartition(-bests, n_kept - 1, axis=1)[:, :n_kept]
        candidates = (groups[:, :, None] * _GROUP + np.arange(_GROUP)).reshape(len(rows), -1)
        coarse = np.take_along_axis(scores, candidates, axis=1)
        n_exact = min(self._n_nearest + _SPARE, n_tracks)
        best = np.argpartition(-coarse, n_exact - 1, axis=1)[:, :n_exact]
        candidates = np.take_along_axis(candidates, best, axis=1)
        # A product of matrices rounds by its shape: rank by products that do not.
        exact = score(self._embeddings[candidates], self._embeddings[rows][:, None, :])
        order = np.lexsort((candidates, -exact), axis=1)[:, : self._n_nearest]
        return np.take_along_axis(candidates, order, axis=1).astype(np.int32)


def score(tracks: Float32Array, interests: Float32Array) -> Float32Array:
    """Inner products over the last axis, each independent of the others' number and place."""
    products: Float32Array = np.einsum("...j,...j->...", tracks, interests)
    return products
