"""The training loop: shuffled batches, Adam, and the epoch that validates best."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from services.trainer.core.model import PairModel
from services.trainer.core.pairs import Pairs
from services.trainer.core.parameters import Report, TrainingParameters
from services.trainer.core.playbacks import FloatArray, IntArray

PATIENCE = 3  # epochs without a better validation loss
MIN_IMPROVEMENT = 1e-5
MIN_STEPS = 32  # per epoch, however small the log
MIN_BATCH = 64


@dataclass(frozen=True)
class Losses:
    """Mean squared errors of an epoch, against the fraction listened."""

    epoch: int
    train: float
    validation: float


@dataclass(frozen=True)
class Tensors:
    """Pairs as the loop reads them."""

    anchors: Tensor
    tracks: Tensor
    times: Tensor

    @classmethod
    def of(cls, pairs: Pairs) -> "Tensors":
        """Share the pairs' memory."""
        return cls(*(torch.from_numpy(a) for a in (pairs.anchors, pairs.tracks, pairs.times)))

    def __len__(self) -> int:
        return len(self.times)


def fit(
    train: Pairs,
    validation: Pairs,
    artist_rows: IntArray,
    *,
    parameters: TrainingParameters,
    report: Report,
    warm: Mapping[str, FloatArray] | None = None,
) -> tuple[PairModel, list[Losses]]:
    """Fit the recipe's model.

    Args:
        train: Pairs to fit.
        validation: Later pairs, that choose the epoch.
        artist_rows: Artist per catalogue row.
        parameters: Of the training.
        report: Told of every epoch.
        warm: Embeddings of an earlier version to start from; they stand if no epoch betters them.

    Returns:
        The model as of its best epoch, and the losses of all epochs.
    """
    model = PairModel(
        train,
        artist_rows,
        dim=parameters.dim,
        with_artists=parameters.recipe == "artist_concat",
        seed=parameters.seed,
    )
    if warm is not None:
        model.continue_from(warm)
    optimiser = torch.optim.Adam(model.parameters(), lr=parameters.learning_rate, fused=True)
    generator = torch.Generator().manual_seed(parameters.seed + 1)
    batch_size = choose_batch_size(len(train), largest=parameters.batch_size)
    pairs, held_out = Tensors.of(train), Tensors.of(validation)
    best = {name: value.clone() for name, value in model.state_dict().items()}
    best_loss, best_epoch = math.inf if warm is None else measure_loss(model, held_out), 0
    losses: list[Losses] = []
    for epoch in range(1, parameters.epochs + 1):
        loss = _run_epoch(model, optimiser, pairs, batch_size=batch_size, generator=generator)
        losses.append(Losses(epoch, loss, measure_loss(model, held_out)))
        report("training", epoch=epoch, train=loss, validation=losses[-1].validation)
        if losses[-1].validation < best_loss - MIN_IMPROVEMENT:
            best_loss, best_epoch = losses[-1].validation, epoch
            for name, value in model.state_dict().items():
                best[name].copy_(value)
        elif epoch - best_epoch >= PATIENCE:
            break
    model.load_state_dict(best)
    return model, losses


def choose_batch_size(n_pairs: int, *, largest: int) -> int:
    """Choose a batch size that leaves enough steps in an epoch of a small log."""
    return min(largest, max(MIN_BATCH, n_pairs // MIN_STEPS))


@torch.no_grad()
def measure_loss(model: PairModel, pairs: Tensors, *, block: int = 65536) -> float:
    """Measure the mean squared error, a block at a time."""
    total = 0.0
    for start in range(0, len(pairs), block):
        part = slice(start, start + block)
        error = model(pairs.anchors[part], pairs.tracks[part]) - pairs.times[part]
        total += float((error.double() ** 2).sum())
    return total / len(pairs)


def predict(model: PairModel, pairs: Pairs, *, block: int = 65536) -> FloatArray:
    """Predict the fraction that is listened to, float32 (n_pairs,)."""
    tensors = Tensors.of(pairs)
    with torch.no_grad():
        parts = [
            model(tensors.anchors[start : start + block], tensors.tracks[start : start + block])
            for start in range(0, len(tensors), block)
        ]
    predicted: FloatArray = torch.cat(parts).numpy()
    return predicted


def _run_epoch(
    model: PairModel,
    optimiser: torch.optim.Optimizer,
    pairs: Tensors,
    *,
    batch_size: int,
    generator: torch.Generator,
) -> float:
    total = 0.0
    for batch in torch.split(torch.randperm(len(pairs), generator=generator), batch_size):
        optimiser.zero_grad(set_to_none=False)
        predicted = model(pairs.anchors[batch], pairs.tracks[batch])
        loss = nn.functional.mse_loss(predicted, pairs.times[batch])
        loss.backward()  # type: ignore[no-untyped-call]  # torch does not annotate it
        optimiser.step()
        total += float(loss.detach()) * len(batch)
    return total / len(pairs)
