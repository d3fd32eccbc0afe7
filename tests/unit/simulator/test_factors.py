"""The history's small model."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.core.factors import INITIAL_SCALE, RowAdam, find_largest, fit_factors


def make_block_pairs(n: int = 20_000) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make pairs of 40 tracks in four blocks: only a track of the anchor's block is listened to."""
    anchor, track = np.random.default_rng(0).integers(0, 40, (2, n)).astype(np.int32)
    return anchor, track, np.where(anchor % 4 == track % 4, 0.9, 0.1)


def test_factors_expect_what_was_listened_to() -> None:
    context, target = fit_factors(*make_block_pairs(), n_tracks=45, seed=3)
    assert context.dtype == target.dtype == np.float32
    rows = np.arange(40)
    expected = np.where(rows[:, None] % 4 == rows % 4, 0.9, 0.1)
    assert np.abs(context[:40] @ target[:40].T - expected).mean() < 0.1
    assert 0.5 * INITIAL_SCALE < context[40:].std() < 1.5 * INITIAL_SCALE


def test_factors_are_a_function_of_the_seed() -> None:
    pairs = make_block_pairs(500)
    first, again, other = (fit_factors(*pairs, n_tracks=45, seed=seed)[0] for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other)


@pytest.mark.parametrize("n_pairs", [0, 1])
def test_hardly_any_pairs_are_enough(n_pairs: int) -> None:
    anchor, track, time = (column[:n_pairs] for column in make_block_pairs())
    context, target = fit_factors(anchor, track, time, n_tracks=45, seed=0)
    assert np.isfinite(context).all()
    assert np.isfinite(target).all()


def test_a_step_of_row_adam_is_adams_first_step_on_the_summed_gradient() -> None:
    weight = np.zeros((3, 2), dtype=np.float32)
    gradient = np.array([[1.0, -2.0], [3.0, 4.0], [-5.0, -6.0]], dtype=np.float32)
    RowAdam(weight).step(np.array([2, 0, 2], dtype=np.int32), gradient)
    # Whatever its size, the first step is the learning rate against the sign of the gradient.
    assert np.allclose(weight, [[-0.03, -0.03], [0.0, 0.0], [0.03, 0.03]], rtol=1e-5)


@given(
    n=st.integers(1, 200), m=st.integers(1, 300), k=st.integers(1, 40), seed=st.integers(0, 1000)
)
def test_the_largest_are_those_of_a_full_sort(n: int, m: int, k: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    context = rng.standard_normal((n, 4), dtype=np.float32)
    target = rng.standard_normal((m, 4), dtype=np.float32)
    found = find_largest(context, target, k=k)
    assert found.shape == (n, min(k, m))
    scores = context @ target.T
    best = -np.sort(-scores, axis=1)[:, :k]
    assert np.allclose(np.take_along_axis(scores, found, axis=1), best, atol=1e-5)
    assert all(len(set(row.tolist())) == len(row) for row in found)
