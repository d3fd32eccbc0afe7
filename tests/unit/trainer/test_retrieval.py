"""Blocked retrieval finds what brute force finds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.core.retrieval import find_neighbours


@given(
    n=st.integers(1, 120),
    k=st.integers(1, 12),
    block=st.integers(1, 130),
    seed=st.integers(0, 2**32 - 1),
)
def test_neighbours_are_those_of_brute_force(n: int, k: int, block: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    context, target = rng.standard_normal((2, n, 5)).astype(np.float32)
    anchors, candidates = rng.random((2, n)) < 0.7
    found = find_neighbours(
        context, target, anchors=anchors, candidates=candidates, k=k, block=block
    )
    assert found.shape == (n, k)
    assert found.dtype == np.int32
    scores = context.astype(np.float64) @ target.T.astype(np.float64)
    for row in range(n):
        allowed = [c for c in np.flatnonzero(candidates) if c != row and anchors[row]]
        best = sorted(allowed, key=lambda c: -scores[row, c])[:k]
        assert found[row].tolist() == best + [-1] * (k - len(best))
