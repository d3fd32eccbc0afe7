"""Metrics with answers known beforehand."""

import numpy as np
import pytest

from services.trainer.core.evaluation import (
    evaluate_neighbours,
    evaluate_popularity,
    evaluate_prediction,
    make_reliability_table,
)
from services.trainer.core.held_out import HeldOut
from services.trainer.core.popularity import rank_tracks
from services.trainer.core.spread import evaluate_diversity, evaluate_spread


def make_held_out(*rows: tuple[int, int, int, float]) -> HeldOut:
    """Make plays of (session, anchor, track, time)."""
    sessions, anchors, tracks = np.array([row[:3] for row in rows], dtype=np.int32).T
    times = np.array([row[3] for row in rows], np.float32)
    return HeldOut(anchors, tracks, times, sessions, sessions, np.zeros(len(rows), np.int64))


def test_prediction_is_compared_with_the_training_mean() -> None:
    times = np.array([0.0, 1.0], np.float32)
    metrics = evaluate_prediction(np.array([0.5, 0.75]), times, train_mean=0.5)
    assert metrics == {
        "held_out_mse": pytest.approx((0.25 + 0.0625) / 2),
        "held_out_log_loss": pytest.approx(-(np.log(0.5) + np.log(0.75)) / 2),
        "baseline_mse": pytest.approx(0.25),
        "baseline_log_loss": pytest.approx(np.log(2)),
        "calibration_error": pytest.approx((0.5 + 0.25) / 2),
    }


def test_a_sure_mistake_costs_much_and_not_infinitely() -> None:
    metrics = evaluate_prediction(np.array([0.0]), np.ones(1, np.float32), train_mean=1.0)
    assert metrics["held_out_log_loss"] == pytest.approx(-np.log(0.005))


def test_the_reliability_table_averages_tenths() -> None:
    predicted = np.array([0.12, 0.18, 0.55, 1.0])
    times = np.array([0.2, 0.4, 0.5, 0.9], np.float32)
    table = make_reliability_table(predicted, times)
    assert [(row["from"], row["to"], row["plays"]) for row in table] == [
        (0.1, 0.2, 2),
        (0.5, 0.6, 1),
        (0.9, 1.0, 1),
    ]
    assert table[0]["predicted"] == pytest.approx(0.15)
    assert table[0]["listened"] == pytest.approx(0.3)
    metrics = evaluate_prediction(predicted, times, train_mean=0.5)
    assert metrics["calibration_error"] == pytest.approx((2 * 0.15 + 0.05 + 0.1) / 4)


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


def test_the_baseline_recommends_the_most_popular_to_everybody() -> None:
    held_out = make_held_out((0, 0, 3, 1.0), (1, 2, 1, 1.0))
    metrics = evaluate_popularity(np.array([3, 1, 2], np.int32), held_out, k=1)
    assert metrics == {"baseline_ndcg_at_10": 0.5, "baseline_recall_at_k": 0.5}


def test_spread_counts_rows_and_weighs_plays() -> None:
    neighbours = np.array([[1, 2], [2, -1], [-1, -1], [1, -1]], dtype=np.int32)
    plays = np.array([0, 3, 1, 2])
    metrics = evaluate_spread(neighbours, plays, candidates=plays > 0)
    assert metrics == {
        "catalog_coverage": 0.5,
        "anchor_coverage": 0.75,
        "popularity_bias": pytest.approx(2.0 / 2.0),
        "novelty_bits": pytest.approx((2 * -np.log2(4 / 10) + 2 * -np.log2(2 / 10)) / 4),
    }


def test_diversity_counts_artists_and_averages_cosines() -> None:
    neighbours = np.array([[1, 2, 3], [0, 3, -1], [1, -1, -1]], dtype=np.int32)
    artists = np.array([0, 7, 7, 2], dtype=np.int32)
    embedding = np.array([[1, 0], [2, 0], [0, 3], [-1, 0]], dtype=np.float32)
    metrics = evaluate_diversity(neighbours, artists, embedding)
    # Row 0: artists 7, 7, 2; cosines 0, -1, 0. Row 1: two artists; cosine -1. Row 2: too few.
    assert metrics["artist_diversity"] == pytest.approx((2 / 3 + 1) / 2)
    assert metrics["list_diversity"] == pytest.approx(1 - (-1 / 3 - 1) / 2)
    assert evaluate_diversity(neighbours[2:], artists, embedding) == {}
    assert set(evaluate_diversity(neighbours, artists, None)) == {"artist_diversity"}


def test_top_tracks_need_some_plays() -> None:
    rows = np.array([0, 0, 0, 1, 1, 1, 2, -1], dtype=np.int32)
    times = np.array([0.1, 0.1, 0.1, 0.9, 0.1, 0.1, 1.0, 1.0], dtype=np.float32)
    assert rank_tracks(rows, times, n_tracks=4).tolist() == [1, 0]
    assert rank_tracks(rows[5:], times[5:], n_tracks=4).tolist() == [2, 1]
