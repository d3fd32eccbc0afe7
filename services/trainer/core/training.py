"""The training loop: epochs of shuffled batches, until the one that validates best is past."""

import math
from collections.abc import Mapping
from dataclasses import astuple, dataclass

import numpy as np
import torch

from services.trainer.core.checkpoints import Checkpoints, Snapshot
from services.trainer.core.learner import Learner, Tensors
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


class Training:
    """A training between two epochs: all that the next one depends on.

    Attributes:
        model: As of the last epoch.
        losses: Of the epochs so far.
        best: The model as of its best epoch, by parameter.
        best_loss, best_epoch: What it validated with, and when; 0 is before the first epoch.
    """

    def __init__(self, model: PairModel, *, learning_rate: float, seed: int, best_loss: float):
        """Begin before the first epoch, whose model validates with `best_loss`."""
        self.model = model
        self.learner = Learner(model, learning_rate=learning_rate)
        self.generator = torch.Generator().manual_seed(seed)
        self.best = {name: value.clone() for name, value in model.state_dict().items()}
        self.best_loss, self.best_epoch = best_loss, 0
        self.losses: list[Losses] = []

    @property
    def is_over(self) -> bool:
        """Whether early stopping ends it."""
        return len(self.losses) - self.best_epoch >= PATIENCE

    def run_epoch(self, pairs: Tensors, held_out: Tensors, *, batch_size: int) -> Losses:
        """Run the next epoch and keep the model if it validates best."""
        train = self.learner.run_epoch(pairs, batch_size=batch_size, generator=self.generator)
        self.learner.update_model()
        losses = Losses(len(self.losses) + 1, train, measure_loss(self.model, held_out))
        self.losses.append(losses)
        if losses.validation < self.best_loss - MIN_IMPROVEMENT:
            self.best_loss, self.best_epoch = losses.validation, losses.epoch
            for name, value in self.model.state_dict().items():
                self.best[name].copy_(value)
        return losses

    def to_snapshot(self) -> Snapshot:
        """Return everything as arrays."""
        learner = self.learner.to_snapshot()
        snapshot = {f"learner.{name}": array for name, array in learner.items()}
        snapshot |= {f"best.{name}": value.numpy() for name, value in self.best.items()}
        snapshot["generator"] = self.generator.get_state().numpy()
        snapshot["losses"] = np.array([astuple(losses) for losses in self.losses])
        snapshot["best_at"] = np.array([self.best_loss, self.best_epoch])
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Go on where a snapshot was taken."""
        own = "learner."
        self.learner.restore(
            {name.removeprefix(own): a for name, a in snapshot.items() if name.startswith(own)}
        )
        for name, value in self.best.items():
            value.copy_(torch.from_numpy(snapshot[f"best.{name}"]))
        self.generator.set_state(torch.from_numpy(snapshot["generator"].copy()))
        self.losses = [Losses(int(e), t, v) for e, t, v in snapshot["losses"].tolist()]
        self.best_loss, self.best_epoch = float(snapshot["best_at"][0]), int(snapshot["best_at"][1])


def fit(
    train: Pairs,
    validation: Pairs,
    artist_rows: IntArray,
    *,
    parameters: TrainingParameters,
    report: Report,
    checkpoints: Checkpoints,
    warm: Mapping[str, FloatArray] | None = None,
) -> Training:
    """Fit the recipe's model.

    Args:
        train: Pairs to fit.
        validation: Later pairs, that choose the epoch.
        artist_rows: Artist per catalogue row.
        parameters: Of the training.
        report: Told of every epoch.
        checkpoints: Where to go on, if it ran before; told of every epoch.
        warm: Embeddings of an earlier version to start from; they stand if no epoch betters them.

    Returns:
        The training, its model as of the best epoch.
    """
    model = PairModel(
        train,
        artist_rows,
        dim=parameters.dim,
        with_artists=parameters.recipe == "artist_concat",
        scale=parameters.initial_scale,
        seed=parameters.seed,
    )
    if warm is not None:
        model.continue_from(warm)
    batch_size = choose_batch_size(len(train), largest=parameters.batch_size)
    pairs, held_out = Tensors.of(train), Tensors.of(validation)
    training = Training(
        model,
        learning_rate=parameters.learning_rate,
        seed=parameters.seed + 1,
        best_loss=math.inf if warm is None else measure_loss(model, held_out),
    )
    snapshot = checkpoints.load()
    if snapshot is not None:
        training.restore(snapshot)
        report("training", resumed_after=len(training.losses))
    while len(training.losses) < parameters.epochs and not training.is_over:
        losses = training.run_epoch(pairs, held_out, batch_size=batch_size)
        report("training", epoch=losses.epoch, train=losses.train, validation=losses.validation)
        checkpoints.save(training.to_snapshot())
    model.load_state_dict(training.best)
    return training


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
