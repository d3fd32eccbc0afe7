"""Whether the users fell into the arms as the split intends; if not, trust no effect."""

import dataclasses
from collections.abc import Mapping

from analysis.core.distributions import chi_square_tail

# Checked at every look at every experiment: only a strong contradiction should alarm.
# Source: Fabijan et al. (2019), Diagnosing Sample Ratio Mismatch in Online Controlled Experiments.
THRESHOLD = 0.001


class InvalidWeightsError(ValueError):
    """Weights that do not describe a split; the message says why."""


@dataclasses.dataclass(frozen=True)
class SampleRatio:
    """The chi-square test of the users per arm against the split.

    Attributes:
        observed: Users per treatment.
        expected: Users per treatment under the split.
        p_value: None with fewer than two arms or no users.
        mismatch: Whether p_value is below the threshold.
    """

    observed: Mapping[str, int]
    expected: Mapping[str, float]
    p_value: float | None
    mismatch: bool


def check_sample_ratio(
    n_users: Mapping[str, int], weights: Mapping[str, float] | None = None
) -> SampleRatio:
    """Test the users per arm against the split.

    Args:
        n_users: Users per treatment.
        weights: Weight per treatment, as in the experiment's definition; equal if absent.

    Raises:
        InvalidWeightsError: If a weight is not positive, or an arm with users has none.
    """
    weights = dict.fromkeys(n_users, 1.0) if weights is None else weights
    if unknown := sorted(n_users.keys() - weights.keys()):
        raise InvalidWeightsError(f"no weight for {', '.join(unknown)}")
    if not all(weight > 0 for weight in weights.values()):
        raise InvalidWeightsError("weights must be positive")
    observed = {treatment: n_users.get(treatment, 0) for treatment in weights}
    total_users, total_weight = sum(observed.values()), sum(weights.values())
    expected = {name: total_users * weight / total_weight for name, weight in weights.items()}
    if len(observed) < 2 or total_users == 0:
        return SampleRatio(observed, expected, p_value=None, mismatch=False)
    statistic = sum((observed[name] - due) ** 2 / due for name, due in expected.items())
    p_value = chi_square_tail(statistic, len(observed) - 1)
    return SampleRatio(observed, expected, p_value=p_value, mismatch=p_value < THRESHOLD)
