"""The published recipe: how well one track follows another, as a dot product.

    score(anchor, track) = <context[anchor] ++ context_artist[artist of anchor],
                            target[track] ++ target_artist[artist of track]>

The dot product of two concatenations is the sum of the halves' dot products, and so it is computed.
The recipe `track_only` has no artist half.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from services.trainer.core.pairs import Pairs
from services.trainer.core.playbacks import FloatArray, IntArray


class PairModel(nn.Module):
    """Embeddings of tracks, and of artists, as what comes first and as what follows."""

    def __init__(
        self,
        pairs: Pairs,
        artist_rows: IntArray,
        *,
        dim: int,
        with_artists: bool,
        scale: float,
        seed: int,
    ) -> None:
        """Draw the embeddings of what the pairs hold; what they do not hold is zero and stays so.

        Args:
            pairs: To train on.
            artist_rows: Artist per catalogue row.
            dim: Of a half.
            with_artists: Whether there is an artist half.
            scale: Standard deviation of the draw. Tiny, a score starts at zero, and noise in rows
                with few plays stays below what is learnt.
            seed: Of the draw.
        """
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        n_tracks, n_artists = len(artist_rows), int(artist_rows.max()) + 1

        def draw(n: int, rows: IntArray) -> nn.Embedding:
            return _draw(n, rows, dim=dim, scale=scale, generator=generator)

        self.with_artists = with_artists
        self.artist_rows = torch.from_numpy(artist_rows.astype(np.int64))
        self.context = draw(n_tracks, pairs.anchors)
        self.target = draw(n_tracks, pairs.tracks)
        if with_artists:
            anchors, tracks = artist_rows[pairs.anchors], artist_rows[pairs.tracks]
            self.context_artist = draw(n_artists, anchors)
            self.target_artist = draw(n_artists, tracks)

    def forward(self, anchors: Tensor, tracks: Tensor) -> Tensor:
        """Score pairs of catalogue rows: the fraction that will be listened to, (n,)."""
        score: Tensor = (self.context(anchors) * self.target(tracks)).sum(dim=1)
        if self.with_artists:
            context = self.context_artist(self.artist_rows[anchors])
            target = self.target_artist(self.artist_rows[tracks])
            score = score + (context * target).sum(dim=1)
        return score

    def embeddings(self) -> list[tuple[nn.Embedding, nn.Embedding]]:
        """Return what is multiplied with what: of tracks, and of artists if there are any."""
        pairs = [(self.context, self.target)]
        if self.with_artists:
            pairs.append((self.context_artist, self.target_artist))
        return pairs

    @torch.no_grad()
    def continue_from(self, arrays: Mapping[str, FloatArray]) -> None:
        """Start from the embeddings of an earlier version; what it does not know stays drawn."""
        halves = {"context": "context_embedding", "target": "track_embedding"}
        for name, array in halves.items():
            own, of_artist = np.split(arrays[array], [self.context.embedding_dim], axis=1)
            _overlay(getattr(self, name), torch.arange(len(own)), own)
            if self.with_artists:
                _overlay(getattr(self, f"{name}_artist"), self.artist_rows, of_artist)

    @torch.no_grad()
    def context_embedding(self) -> FloatArray:
        """Return what a first track is, both halves, (n_tracks, dim or 2 * dim)."""
        artist = self.context_artist if self.with_artists else None
        return self._concatenate(self.context, artist)

    @torch.no_grad()
    def track_embedding(self) -> FloatArray:
        """Return what a following track is, both halves, (n_tracks, dim or 2 * dim)."""
        artist = self.target_artist if self.with_artists else None
        return self._concatenate(self.target, artist)

    def _concatenate(self, track: nn.Embedding, artist: nn.Embedding | None) -> FloatArray:
        halves = [track.weight.detach()]
        if artist is not None:
            halves.append(artist.weight.detach()[self.artist_rows])
        embedding: FloatArray = torch.cat(halves, dim=1).numpy()
        return embedding


def known_anchors(
    pairs: Pairs, artist_rows: IntArray, *, with_artists: bool
) -> npt.NDArray[np.bool_]:
    """Tell of which tracks the pairs say what follows, if only by their artist, (n_tracks,)."""
    seen = np.zeros(len(artist_rows), dtype=np.bool_)
    seen[pairs.anchors] = True
    if with_artists:
        seen |= np.isin(artist_rows, artist_rows[pairs.anchors])
    return seen


def known_tracks(pairs: Pairs, n_tracks: int) -> npt.NDArray[np.bool_]:
    """Tell which tracks were ever played after another, (n_tracks,)."""
    seen = np.zeros(n_tracks, dtype=np.bool_)
    seen[pairs.tracks] = True
    return seen


def _overlay(embedding: nn.Embedding, rows: Tensor, vectors: FloatArray) -> None:
    """Set the rows whose vectors are not zero; a row may be named twice, by equal vectors."""
    is_known = torch.from_numpy((vectors != 0).any(axis=1))
    embedding.weight[rows[is_known]] = torch.from_numpy(vectors)[is_known]


def _draw(
    n: int, rows: IntArray, *, dim: int, scale: float, generator: torch.Generator
) -> nn.Embedding:
    weight = torch.zeros(n, dim)
    seen = torch.from_numpy(np.unique(rows).astype(np.int64))
    weight[seen] = torch.randn(len(seen), dim, generator=generator) * scale
    return nn.Embedding(n, dim, _weight=weight)
