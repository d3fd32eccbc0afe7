"""Claim: the published recipe's own training takes a fraction of what a plain PyTorch loop takes.

python -m benchmarks.training_speed [--pairs 600000] [--epochs 1] [--batch-size 2048] [--threads 1]

The same pairs, epochs, batch size, dim and learning rate, from the same initial embeddings in the
same order of batches: in the trainer, and in the loop that a notebook has: `TensorDataset`,
`DataLoader`, `nn.Embedding`, `torch.optim.Adam`. The recipe is `track_only` unless
`--artists` is given. Prints the seconds of CPU and of the clock, their ratios, and the training
losses of both, which must agree: it is the same training.
"""

import argparse
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Sampler, TensorDataset

from services.trainer.core.learner import Learner, Tensors
from services.trainer.core.model import PairModel
from services.trainer.core.pairs import Pairs

N_TRACKS, N_ARTISTS = 50_000, 5_000
LEARNING_RATE, SCALE, SEED = 0.001, 0.005, 0


def draw_pairs(n: int) -> tuple[Pairs, np.ndarray]:
    """Draw pairs whose tracks are as unequally popular as those of a log; and artists."""
    rng = np.random.default_rng(SEED)
    weights = (np.arange(N_TRACKS) + 50.0) ** -0.75
    anchors, tracks = rng.choice(N_TRACKS, (2, n), p=weights / weights.sum()).astype(np.int32)
    times = rng.beta(0.3, 1.0, n).astype(np.float32)
    artists = rng.integers(0, N_ARTISTS, N_TRACKS).astype(np.int32)
    artists[:N_ARTISTS] = np.arange(N_ARTISTS)
    return Pairs(anchors, tracks, times, np.arange(n, dtype=np.int32)), artists


class SameOrder(Sampler[int]):
    """The order of the trainer's batches, epoch after epoch."""

    def __init__(self, n: int) -> None:
        """Begin at the first epoch."""
        self._n = n
        self._generator = torch.Generator().manual_seed(SEED + 1)

    def __iter__(self) -> Iterator[int]:
        return iter(torch.randperm(self._n, generator=self._generator).tolist())

    def __len__(self) -> int:
        return self._n


def train_plainly(model: PairModel, pairs: Tensors, *, epochs: int, batch_size: int) -> float:
    """Train as a notebook does; return the mean squared error of the last epoch."""
    columns: list[Tensor] = [pairs.anchors.long(), pairs.tracks.long(), pairs.times]
    dataset = TensorDataset(*columns)
    loader = DataLoader(dataset, batch_size=batch_size, sampler=SameOrder(len(pairs)))
    optimiser = torch.optim.Adam(model.parameters(), lr=LEARNING_RATE)
    total = 0.0
    for _ in range(epochs):
        total = 0.0
        for anchors, tracks, times in loader:
            optimiser.zero_grad()
            loss = nn.functional.mse_loss(model(anchors, tracks), times)
            loss.backward()
            optimiser.step()
            total += loss.item() * len(times)
    return total / len(pairs)


def train_here(model: PairModel, pairs: Tensors, *, epochs: int, batch_size: int) -> float:
    """Train as the trainer does; return the same."""
    learner = Learner(model, learning_rate=LEARNING_RATE)
    generator = torch.Generator().manual_seed(SEED + 1)
    loss = 0.0
    for _ in range(epochs):
        loss = learner.run_epoch(pairs, batch_size=batch_size, generator=generator)
        learner.update_model()
    return loss


def measure(run: Callable[[], float]) -> tuple[float, float, float]:
    """Return the seconds of CPU and of the clock, and the loss."""
    cpu, clock = time.process_time(), time.perf_counter()
    loss = run()
    return time.process_time() - cpu, time.perf_counter() - clock, loss


def main() -> None:
    """Draw, train twice and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=600_000)
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=2048)
    parser.add_argument("--dim", type=int, default=100)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--artists", action="store_true", help="the recipe artist_concat")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    drawn, artists = draw_pairs(options.pairs)
    tensors = Tensors.of(drawn)
    results = {}
    for name, train in (("plain PyTorch", train_plainly), ("trainer", train_here)):
        model = PairModel(
            drawn,
            artists,
            dim=options.dim,
            with_artists=options.artists,
            scale=SCALE,
            seed=SEED,
        )
        results[name] = measure(
            lambda model=model, train=train: train(  # type: ignore[misc]
                model, tensors, epochs=options.epochs, batch_size=options.batch_size
            )
        )
        cpu, clock, loss = results[name]
        print(f"{name:14} {cpu:7.2f} s CPU  {clock:7.2f} s clock  loss {loss:.5f}", flush=True)
    plain, ours = results.values()
    print(f"ratio          {plain[0] / ours[0]:7.1f}        {plain[1] / ours[1]:7.1f}")


if __name__ == "__main__":
    main()
