"""Adam for an embedding, at the cost of the rows that a batch holds.

Adam moves a row also in the steps that give it no gradient: its moments decay, and it coasts. How
far it coasts has a closed form, so a row can wait until it is needed again, and is then where Adam
would have left it. A step costs the rows of its batch, not the table.

Source: Kingma and Ba (2015), Adam; its epsilon is left out while a row coasts.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8  # as published, and as torch has them
_RATIO = BETA_1 / BETA_2**0.5  # what a coasting row's step keeps of the one before
_SETTLED = 20_000  # steps after which the corrections for zero moments are 1, to 2e-9
_AT_REST = 400  # steps after which a coasting row moves no more: _RATIO**400 is 6e-19
_TINY = torch.finfo(torch.float32).tiny
_ROWS_AT_ONCE = 8192


class Schedule:
    """What the number of a step says, alike for all tables of a training."""

    def __init__(self, learning_rate: float) -> None:
        """Compute how far each step goes, and all coasting after it."""
        steps = torch.arange(_SETTLED + _AT_REST + 1, dtype=torch.float64)
        corrections = torch.sqrt(1.0 - BETA_2**steps)
        rates = learning_rate * corrections / (1.0 - BETA_1 ** steps.clamp(min=1.0))
        self._rates: list[float] = rates.tolist()
        self._epsilons: list[float] = (EPSILON * corrections).tolist()
        # coasting[s] = sum over j >= 1 of rates[s + j] * _RATIO**j
        coasting = [0.0] * len(self._rates)
        for step in range(len(coasting) - 2, -1, -1):
            coasting[step] = _RATIO * (self._rates[step + 1] + coasting[step + 1])
        self._coasting = torch.tensor(coasting[: _SETTLED + 1], dtype=torch.float64)

    def step(self, number: int) -> tuple[float, float]:
        """Return the rate and the epsilon of a step, both corrected for moments that began at 0."""
        number = min(number, _SETTLED)
        return self._rates[number], self._epsilons[number]

    def coast(self, last: Tensor, step: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return how far rows have coasted, and what is left of their two moments.

        Args:
            last: Step of each row's latest gradient, int64 (n,).
            step: The latest step of the training.

        Returns:
            Three columns, float32 (n, 1).
        """
        wait = (step - last).double()
        total = self._coasting[last.clamp(max=_SETTLED)]
        ahead = float(self._coasting[min(step, _SETTLED)])
        columns = (total - _RATIO**wait * ahead, BETA_1**wait, BETA_2**wait)
        distance, decay_1, decay_2 = (column.float()[:, None] for column in columns)
        return distance, decay_1, decay_2


class LazyTable:
    """An embedding and its moments, each row as of its latest gradient."""

    def __init__(self, weight: Tensor, schedule: Schedule) -> None:
        """Take the initial embedding, float32 (n, dim)."""
        n, self._dim = weight.shape
        # A row holds its weight and both moments: fetched and stored in one piece.
        self._table = torch.zeros(n, 3 * self._dim)
        self._table[:, : self._dim] = weight.detach()
        self._last = torch.zeros(n, dtype=torch.int64)
        self._schedule = schedule
        self._step = 0
        # Memory that was used before is quick to write to; new memory is not.
        self._fetched = torch.empty(0, 3 * self._dim)
        self._scratch = torch.empty(0, self._dim)

    def fetch(self, rows: Tensor) -> Tensor:
        """Return the weights of rows as of now, (n, dim); `step` expects the same rows.

        Args:
            rows: Different ones, int64 (n,).
        """
        if len(rows) > len(self._fetched):
            self._fetched = torch.empty(len(rows), 3 * self._dim)
            self._scratch = torch.empty(len(rows), self._dim)
        torch.index_select(self._table, 0, rows, out=self._fetched[: len(rows)])
        weight, mean, square, scratch = self._parts(len(rows))
        last = self._last.index_select(0, rows)
        distance, decay_1, decay_2 = self._schedule.coast(last, self._step)
        torch.sqrt(square, out=scratch).add_(_TINY)
        weight.addcdiv_(mean.mul(distance), scratch, value=-1.0)
        mean.mul_(decay_1)
        square.mul_(decay_2)
        return weight

    def step(self, rows: Tensor, gradient: Tensor) -> None:
        """Move rows against their gradient.

        Args:
            rows: Those fetched last.
            gradient: Theirs, (n, dim).
        """
        self._step += 1
        rate, epsilon = self._schedule.step(self._step)
        weight, mean, square, scratch = self._parts(len(rows))
        mean.lerp_(gradient, 1.0 - BETA_1)
        square.mul_(BETA_2).addcmul_(gradient, gradient, value=1.0 - BETA_2)
        torch.sqrt(square, out=scratch).add_(epsilon)
        weight.addcdiv_(mean, scratch, value=-rate)
        self._table[rows] = self._fetched[: len(rows)]
        self._last[rows] = self._step

    def copy_to(self, weight: Tensor) -> None:
        """Write the whole embedding as of now, (n, dim)."""
        for rows in torch.split(torch.arange(len(self._table)), _ROWS_AT_ONCE):
            weight[rows] = self.fetch(rows)

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return all that the next step depends on, sharing the table's memory."""
        return {
            "rows": self._table.numpy(),
            "last": self._last.numpy(),
            "step": np.array(self._step),
        }

    def restore(self, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
        """Become the table, of the same shape, that the arrays are of."""
        self._table.copy_(torch.from_numpy(arrays["rows"]))
        self._last.copy_(torch.from_numpy(arrays["last"]))
        self._step = int(arrays["step"])

    def _parts(self, n: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Return of the rows fetched: weight, mean and mean square of the gradient; room."""
        weight, mean, square = torch.split(self._fetched[:n], self._dim, dim=1)
        return weight, mean, square, self._scratch[:n]
