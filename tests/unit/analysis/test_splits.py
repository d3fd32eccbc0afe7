import numpy as np
import pytest

from analysis.core.splits import SplitResult, split_again


def split(
    numerator: np.ndarray, denominator: np.ndarray | None = None, n_splits: int = 400
) -> SplitResult:
    return split_again(
        "time",
        numerator,
        np.ones(len(numerator)) if denominator is None else denominator,
        n_splits=n_splits,
        alpha=0.05,
        generator=np.random.default_rng(1),
    )


def test_halves_of_the_same_users_differ_as_often_as_alpha() -> None:
    result = split(np.random.default_rng(2).gamma(2, 1, 500))
    assert (result.n_users, result.n_splits) == (500, 400)
    assert result.false_positives == pytest.approx(0.05, abs=0.033)  # three standard errors
    assert result.error == pytest.approx(0.011, abs=0.004)
    assert result.uniformity is not None
    assert result.uniformity > 0.001


def test_a_ratio_is_tested_as_a_ratio() -> None:
    generator = np.random.default_rng(3)
    playbacks = 1.0 + generator.geometric(0.1, 500)
    skips = generator.binomial(playbacks.astype(int), 0.3).astype(float)
    result = split(skips, playbacks)
    assert result.false_positives == pytest.approx(0.05, abs=0.033)


def test_one_giant_among_few_is_found_out() -> None:
    # Welch's test next to never rejects, whichever half the giant is in.
    result = split(np.r_[np.ones(49) + np.arange(49) / 1e6, 1e6])
    assert result.uniformity is not None
    assert result.uniformity < 0.001


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 1.0, 1.0]])
def test_what_cannot_be_tested_has_no_rate(values: list[float]) -> None:
    result = split(np.array(values), n_splits=5)
    assert (result.n_splits, result.false_positives, result.uniformity) == (0, None, None)


def test_the_same_seed_gives_the_same_splits() -> None:
    values = np.random.default_rng(4).exponential(1, 60)
    assert split(values, n_splits=20) == split(values, n_splits=20)
