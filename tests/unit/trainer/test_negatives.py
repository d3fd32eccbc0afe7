"""Sampled negatives are what never was, as many as asked, and from where they should be."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.core.negatives import (
    NO_CLUSTER,
    NO_SESSION,
    add_negatives,
    find_clusters,
)
from services.trainer.core.pairs import Pairs


def make_pairs(pairs: list[tuple[int, int]]) -> Pairs:
    anchors, tracks = np.array(pairs, dtype=np.int32).T
    n = len(pairs)
    return Pairs(anchors, tracks, np.full(n, 0.5, np.float32), np.arange(n, dtype=np.int32))


def sampled(enriched: Pairs, pairs: Pairs) -> list[tuple[int, int]]:
    added = slice(len(pairs), None)
    assert (enriched.times[added] == 0).all()
    assert (enriched.sessions[added] == NO_SESSION).all()
    return list(zip(enriched.anchors[added], enriched.tracks[added], strict=True))


@given(
    real=st.lists(st.tuples(st.integers(0, 11), st.integers(0, 11)), min_size=1, max_size=80),
    labels=st.lists(st.integers(-1, 3), min_size=12, max_size=12),
    use_clusters=st.booleans(),
    per_track=st.integers(1, 14),
    seed=st.integers(0, 1000),
)
def test_negatives_never_followed_and_are_as_many_as_there_can_be(
    real: list[tuple[int, int]],
    labels: list[int],
    use_clusters: bool,
    per_track: int,
    seed: int,
) -> None:
    pairs = make_pairs(real)
    clusters = np.array(labels, dtype=np.int32) if use_clusters else None
    enriched = add_negatives(pairs, n_tracks=12, per_track=per_track, seed=seed, clusters=clusters)
    assert np.array_equal(enriched.anchors[: len(pairs)], pairs.anchors)
    assert np.array_equal(enriched.times[: len(pairs)], pairs.times)
    new = sampled(enriched, pairs)
    assert len(set(new)) == len(new)
    for anchor in {anchor for anchor, _ in real}:
        followed = {track for first, track in real if first == anchor} | {anchor}
        eligible = set(range(12)) - followed
        if use_clusters:
            others = {t for t in range(12) if labels[t] not in (NO_CLUSTER, labels[anchor])}
            eligible &= others
        mine = {track for first, track in new if first == anchor}
        assert mine <= eligible
        assert len(mine) == min(per_track, len(eligible))
    assert {anchor for anchor, _ in new} <= {anchor for anchor, _ in real}


def test_negatives_are_uniform_over_what_never_followed() -> None:
    pairs = make_pairs([(anchor, track) for anchor in range(50) for track in range(50)])
    counts = np.zeros(100)
    for seed in range(10):
        for _, track in sampled(add_negatives(pairs, n_tracks=100, per_track=10, seed=seed), pairs):
            counts[track] += 1
    assert counts[:50].sum() == 0
    assert counts.sum() == 5000
    chi_squared = ((counts[50:] - 100) ** 2 / 100).sum()
    assert chi_squared < 86  # of 49 degrees of freedom: less than 1 in 1,000 is beyond it


def test_the_same_seed_samples_the_same() -> None:
    pairs = make_pairs([(a, (a + 1) % 50) for a in range(50)])
    first, again, other = (
        add_negatives(pairs, n_tracks=50, per_track=5, seed=seed).tracks for seed in (1, 1, 2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


def test_no_negatives_leave_the_pairs_as_they_are() -> None:
    pairs = make_pairs([(0, 1)])
    assert add_negatives(pairs, n_tracks=5, per_track=0, seed=0) is pairs


@pytest.mark.parametrize("n_clusters", [3, 40])
def test_clusters_are_the_planted_ones_and_zero_rows_have_none(n_clusters: int) -> None:
    rng = np.random.default_rng(0)
    centres = np.eye(3, 6) * 5
    planted = np.arange(30) % 3
    embedding = (centres[planted] + rng.normal(0, 0.1, (30, 6))).astype(np.float32)
    embedding[7] = 0.0
    clusters = find_clusters(embedding, n_clusters=n_clusters, seed=1)
    assert clusters[7] == NO_CLUSTER
    others = np.delete(np.arange(30), 7)
    if n_clusters == 3:
        same = clusters[others, None] == clusters[None, others]
        assert np.array_equal(same, planted[others, None] == planted[None, others])
    else:
        assert len(np.unique(clusters[others])) == 29
