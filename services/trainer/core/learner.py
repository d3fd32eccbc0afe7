"""A pair model's embeddings while they are fitted, a batch at a time.

It takes the steps that `torch.optim.Adam` would take on all of the embeddings, row by row as the
batches need them (`lazy_adam`).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from services.trainer.core.checkpoints import Snapshot
from services.trainer.core.lazy_adam import LazyTable, Schedule
from services.trainer.core.model import PairModel
from services.trainer.core.pairs import Pairs
from services.trainer.core.products import Product


@dataclass(frozen=True)
class Tensors:
    """Pairs as the training reads them."""

    anchors: Tensor
    tracks: Tensor
    times: Tensor

    @classmethod
    def of(cls, pairs: Pairs) -> "Tensors":
        """Share the pairs' memory."""
        return cls(*(torch.from_numpy(a) for a in (pairs.anchors, pairs.tracks, pairs.times)))

    def __len__(self) -> int:
        return len(self.times)


class Learner:
    """What a model's embeddings become, and the moments of their gradients."""

    def __init__(self, model: PairModel, *, learning_rate: float) -> None:
        """Start from the model's embeddings."""
        schedule = Schedule(learning_rate)
        self._artist_rows = model.artist_rows
        self._embeddings = model.embeddings()
        self._tables = [
            (LazyTable(left.weight, schedule), LazyTable(right.weight, schedule))
            for left, right in self._embeddings
        ]
        self._products = [Product(left, right) for left, right in self._tables]

    @torch.no_grad()
    def run_epoch(self, pairs: Tensors, *, batch_size: int, generator: torch.Generator) -> float:
        """Take a step per batch, in an order of the generator's; return the mean squared error."""
        total = 0.0
        for batch in torch.split(torch.randperm(len(pairs), generator=generator), batch_size):
            total += self._step(pairs.anchors[batch], pairs.tracks[batch], pairs.times[batch])
        return total / len(pairs)

    @torch.no_grad()
    def update_model(self) -> None:
        """Write the embeddings as of now into the model."""
        for table, embedding in self._each():
            table.copy_to(embedding.weight)

    def to_snapshot(self) -> Snapshot:
        """Return everything that the next step depends on as arrays."""
        return {
            f"{i}.{name}": array
            for i, (table, _) in enumerate(self._each())
            for name, array in table.to_arrays().items()
        }

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where a snapshot was taken; the model is as it was then."""
        for i, (table, _) in enumerate(self._each()):
            table.restore({name: snapshot[f"{i}.{name}"] for name in table.to_arrays()})
        self.update_model()

    def _step(self, anchors: Tensor, tracks: Tensor, times: Tensor) -> float:
        """Take a step towards the fractions listened; return the sum of the squared errors."""
        anchors, tracks = anchors.long(), tracks.long()
        rows = [(anchors, tracks), (self._artist_rows[anchors], self._artist_rows[tracks])]
        batches = [
            product.score(*sides) for product, sides in zip(self._products, rows, strict=False)
        ]
        errors = torch.stack([batch.scores for batch in batches]).sum(dim=0) - times
        slopes = errors * (2.0 / len(errors))  # of the mean squared error
        for product, batch in zip(self._products, batches, strict=True):
            product.step(batch, slopes)
        return float(errors.double().square().sum())

    def _each(self) -> Iterator[tuple[LazyTable, nn.Embedding]]:
        for tables, embeddings in zip(self._tables, self._embeddings, strict=True):
            yield from zip(tables, embeddings, strict=True)
