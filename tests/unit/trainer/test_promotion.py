"""A version is to serve if it is not worse on what neither has learnt from."""

import numpy as np
import pytest

from services.trainer.core.held_out import HeldOut
from services.trainer.core.judgement import Comparison, Judgement, compare, judge
from services.trainer.core.promotion import TOLERANCE, Promotion, decide

N = 400


def make_held_out(rng: np.random.Generator) -> HeldOut:
    """Make sessions of one play after track 0, four per user; a track's index is its mean time."""
    tracks = rng.integers(0, 10, N).astype(np.int32)
    times = np.clip(tracks / 10 + rng.normal(0, 0.1, N), 0, 1).astype(np.float32)
    number = np.arange(N, dtype=np.int32)
    return HeldOut(np.zeros(N, np.int32), tracks, times, number, number // 4, np.zeros(N, np.int64))


def make_arrays(bias: float) -> dict[str, np.ndarray]:
    """Make a version that predicts a track's mean time, off by some bias."""
    target = (np.arange(10, dtype=np.float32)[:, None] / 10 + bias).astype(np.float32)
    return {"context_embedding": np.ones((10, 1), np.float32), "track_embedding": target}


def compare_biases(candidate: float, serving: float, *, seen: float = 0.0) -> Comparison:
    judgement = judge(
        make_arrays(candidate), make_held_out(np.random.default_rng(0)), train_mean=0.5
    )
    found = compare(judgement, make_arrays(serving), model_version="m1", seen_share=seen)
    assert found is not None
    return found


def decide_auto(comparison: Comparison | None) -> Promotion:
    return decide("auto", serving="m1", comparison=comparison, obstacle=None)


def test_a_better_version_serves() -> None:
    comparison = compare_biases(0.0, 0.3)
    assert comparison.difference < 0
    assert comparison.difference_upper < 0
    decision = decide_auto(comparison)
    assert decision.is_promoted
    assert decision.reason.startswith("not worse: squared error")


def test_an_equal_version_serves_and_a_little_worse_within_the_tolerance() -> None:
    same = compare_biases(0.05, 0.05)
    assert (same.difference, same.difference_upper) == (0.0, 0.0)
    assert decide_auto(same).is_promoted
    little = compare_biases(0.0505, 0.05)
    assert 0 < little.difference_upper < TOLERANCE * little.serving["held_out_mse"]
    assert decide_auto(little).is_promoted


def test_a_worse_version_does_not_serve_and_it_is_said_why() -> None:
    decision = decide_auto(compare_biases(0.3, 0.0))
    assert not decision.is_promoted
    assert decision.reason.startswith("may be worse: squared error")
    assert "of m1 on 400 held-out sessions" in decision.reason


def test_a_version_that_saw_the_sessions_is_flagged() -> None:
    assert "may have learnt from 40%" in decide_auto(compare_biases(0.3, 0.0, seen=0.4)).reason
    assert "learnt from" not in decide_auto(compare_biases(0.3, 0.0)).reason


def test_the_confidence_bound_takes_users_as_wholes() -> None:
    held_out = make_held_out(np.random.default_rng(0))
    comparison = compare_biases(0.1, 0.0)
    truth, off = make_arrays(0.0), make_arrays(0.1)
    errors = [
        (np.clip(a["track_embedding"][held_out.tracks, 0].astype(float), 0, 1) - held_out.times)
        ** 2
        for a in (off, truth)
    ]
    of_users = (errors[0] - errors[1]).reshape(-1, 4).mean(axis=1)  # four plays each
    expected = of_users.mean() + 1.645 * of_users.std(ddof=1) / np.sqrt(len(of_users))
    assert comparison.difference_upper == pytest.approx(expected, rel=1e-6)
    assert comparison.n_users == 100


def test_the_bound_holds_as_often_as_it_says() -> None:
    rng, n_held = np.random.default_rng(1), 0
    candidate, serving = make_arrays(0.03), make_arrays(0.0)
    true_difference = []
    bounds = []
    for _ in range(300):
        held_out = make_held_out(rng)
        judgement: Judgement = judge(candidate, held_out, train_mean=0.5)
        found = compare(judgement, serving, model_version="m", seen_share=0)
        assert found is not None
        true_difference.append(found.difference)
        bounds.append(found.difference_upper)
    n_held = sum(bound > np.mean(true_difference) for bound in bounds)
    assert 0.91 < n_held / len(bounds) < 0.985


@pytest.mark.parametrize(
    ("promote", "serving", "obstacle", "expected", "reason"),
    [
        ("always", "m1", None, True, "promote is always"),
        ("never", None, None, False, "promote is never"),
        ("auto", None, None, True, "the first version"),
        ("auto", "m1", "m1 is of another catalogue", True, "m1 is of another catalogue"),
        ("auto", "m1", None, False, "cannot be compared with m1, which predicts no times"),
    ],
)
def test_without_a_comparison(
    promote: str, serving: str | None, obstacle: str | None, expected: bool, reason: str
) -> None:
    decision = decide(promote, serving=serving, comparison=None, obstacle=obstacle)  # type: ignore[arg-type]
    assert (decision.is_promoted, decision.reason) == (expected, reason)


def test_a_version_without_predictions_cannot_be_compared() -> None:
    judgement = judge(make_arrays(0), make_held_out(np.random.default_rng(0)), train_mean=0.5)
    imported = {"neighbours": np.zeros((10, 2), np.int32)}
    assert compare(judgement, imported, model_version="m1", seen_share=0) is None
    assert judge(imported, judgement.held_out, train_mean=0.5).predicted is None
