"""Metrics with answers known beforehand."""

import numpy as np
import pytest

from services.trainer.core.evaluation import (
    evaluate_neighbours,
    evaluate_prediction,
    evaluate_spread,
)
from services.trainer.core.pairs import Pairs
from services.trainer.core.popularity import rank_tracks


def make_held_out(*rows: tuple[int, int, int, float]) -> Pairs:
    """Make pairs of (session, anchor, track, time)."""
    sessions, anchors, tracks = np.array([row[:3] for row in rows], dtype=np.int32).T
    return Pairs(anchors, tracks, np.array([row[3] for row in rows], np.float32), sessions)


def test_prediction_is_compared_with_the_training_mean() -> None:
    held_out = make_held_out((0, 0, 1, 0.0), (0, 0, 2, 1.0))
    predicted = np.array([0.5, 1.0], dtype=np.float32)
    metrics = evaluate_prediction(predicted, held_out, train_mean=0.5)
    assert metrics == {"validation_mse": 0.125, "baseline_mse": 0.25}


def test_ranking_metrics_of_a_known_case() -> None:
    neighbours = np.array([[1, 2, 3], [-1, -1, -1], [3, 1, -1], [-1] * 3], dtype=np.int32)
    held_out = make_held_out(
        (0, 0, 2, 0.9),  # second: gain 1 / log2(3)
        (0, 0, 3, 0.1),  # not listened to well: no relevant track
        (1, 2, 3, 0.5),  # first, and the next one is absent
        (1, 2, 0, 0.8),
        (2, 1, 0, 1.0),  # no neighbours at all
        (3, 0, 1, 0.2),  # a session without relevant tracks does not count
    )
    metrics = evaluate_neighbours(neighbours, held_out)
    second = 1 / np.log2(3)
    assert metrics["ndcg_at_10"] == pytest.approx((second + 1 / (1 + second) + 0) / 3)
    assert metrics["recall_at_k"] == pytest.approx((1 + 0.5 + 0) / 3)


def test_perfect_neighbours_score_one() -> None:
    neighbours = np.array([[1, 2], [0, 2], [0, 1]], dtype=np.int32)
    metrics = evaluate_neighbours(neighbours, make_held_out((0, 0, 1, 1.0), (0, 0, 2, 1.0)))
    assert metrics == {"ndcg_at_10": pytest.approx(1.0), "recall_at_k": 1.0}


def test_nothing_listened_to_gives_no_ranking_metrics() -> None:
    assert evaluate_neighbours(np.zeros((2, 1), np.int32), make_held_out((0, 0, 1, 0.1))) == {}


def test_spread_counts_rows_and_weighs_plays() -> None:
    neighbours = np.array([[1, 2], [2, -1], [-1, -1], [1, -1]], dtype=np.int32)
    plays = np.array([0, 3, 1, 2])
    metrics = evaluate_spread(neighbours, plays, candidates=plays > 0)
    assert metrics == {
        "catalog_coverage": 0.5,
        "anchor_coverage": 0.75,
        "popularity_bias": pytest.approx(2.0 / 2.0),
    }


def test_top_tracks_need_some_plays() -> None:
    rows = np.array([0, 0, 0, 1, 1, 1, 2, -1], dtype=np.int32)
    times = np.array([0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 1.0, 1.0], dtype=np.float32)
    assert rank_tracks(rows, times, n_tracks=4).tolist() == [1, 0]
    assert rank_tracks(rows[5:], times[5:], n_tracks=4).tolist() == [2, 1]
