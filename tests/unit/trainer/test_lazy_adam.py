"""The lazy steps are Adam's own."""

import pytest
import torch
from torch import Tensor, nn

from services.trainer.core.lazy_adam import LazyTable, Schedule
from services.trainer.core.products import Product

N_ROWS, DIM, RATE = 40, 6, 0.02


def make_batches(n_batches: int, *, n_pairs: int = 8, n_rows: int = N_ROWS) -> list[Tensor]:
    """Make batches of (left, right) rows, few of them in each, some twice."""
    generator = torch.Generator().manual_seed(7)
    return [torch.randint(n_rows, (2, n_pairs), generator=generator) for _ in range(n_batches)]


def target_of(left: Tensor, right: Tensor) -> Tensor:
    """Return what a pair's product should become."""
    return ((left * 7 + right * 3) % 10) / 10.0


def fit_densely(weights: list[Tensor], batches: list[Tensor]) -> list[Tensor]:
    """Fit as torch does."""
    embeddings = [nn.Embedding(len(w), DIM, _weight=w.clone()) for w in weights]
    optimiser = torch.optim.Adam([e.weight for e in embeddings], lr=RATE)
    for left, right in batches:
        optimiser.zero_grad()
        score = (embeddings[0](left) * embeddings[1](right)).sum(dim=1)
        nn.functional.mse_loss(score, target_of(left, right)).backward()
        optimiser.step()
    return [embedding.weight.detach() for embedding in embeddings]


def fit_lazily(weights: list[Tensor], batches: list[Tensor]) -> list[Tensor]:
    """Fit as the trainer does."""
    schedule = Schedule(RATE)
    tables = [LazyTable(weight, schedule) for weight in weights]
    product = Product(*tables)
    for left, right in batches:
        batch = product.score(left, right)
        errors = batch.scores - target_of(left, right)
        product.step(batch, errors * (2.0 / len(errors)))
    fitted = [torch.empty_like(weight) for weight in weights]
    for table, weight in zip(tables, fitted, strict=True):
        table.copy_to(weight)
    return fitted


def draw_weights() -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(N_ROWS, DIM, generator=generator) * 0.3 for _ in range(2)]


@pytest.mark.parametrize("n_batches", [1, 2, 25, 300])
def test_steps_lead_where_those_of_adam_lead(n_batches: int) -> None:
    weights, batches = draw_weights(), make_batches(n_batches)
    for lazy, dense in zip(
        fit_lazily(weights, batches), fit_densely(weights, batches), strict=True
    ):
        assert (lazy - dense).abs().max() < 2e-4


def test_a_row_coasts_after_its_last_gradient_as_adam_lets_it() -> None:
    # All rows in one batch, and then only the first half in many.
    first = torch.arange(N_ROWS).repeat(2, 1)
    batches = [first, *make_batches(60, n_rows=N_ROWS // 2)]
    weights = draw_weights()
    lazy, dense = fit_lazily(weights, batches), fit_densely(weights, batches)
    moved_once = fit_densely(weights, [first])[0][N_ROWS // 2 :]
    coasted = dense[0][N_ROWS // 2 :]
    assert (coasted - moved_once).abs().max() > 4 * RATE
    assert (lazy[0][N_ROWS // 2 :] - coasted).abs().max() < 0.05 * RATE


def test_rows_of_no_batch_do_not_move() -> None:
    weights = draw_weights()
    fitted = fit_lazily(weights, make_batches(30, n_rows=N_ROWS // 2))
    assert torch.equal(fitted[0][N_ROWS // 2 :], weights[0][N_ROWS // 2 :])
    assert not torch.equal(fitted[0][: N_ROWS // 2], weights[0][: N_ROWS // 2])


@pytest.mark.parametrize(
    ("last", "step"), [(0, 1), (3, 10), (10, 700), (19_990, 20_030), (30_000, 30_005)]
)
def test_coasting_is_the_sum_of_its_steps(last: int, step: int) -> None:
    expected = sum(
        RATE * (1 - 0.999**s) ** 0.5 / (1 - 0.9**s) * (0.9 / 0.999**0.5) ** (s - last)
        for s in range(last + 1, step + 1)
    )
    distance, decay_1, decay_2 = Schedule(RATE).coast(torch.tensor([last]), step)
    assert distance.item() == pytest.approx(expected, rel=1e-5)
    assert decay_1.item() == pytest.approx(0.9 ** (step - last), rel=1e-5)
    assert decay_2.item() == pytest.approx(0.999 ** (step - last), rel=1e-5)
