from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from services.recommender.core.draws import Draw

ids = st.integers(0, 2**31 - 1)


@given(st.integers(0, 2**63 - 1), ids, ids, ids, st.integers(1, 2**31))
def test_same_key_gives_the_same_numbers(
    seed: int, user: int, track: int, position: int, n: int
) -> None:
    one, other = (Draw(seed, user, track, position) for _ in range(2))
    numbers = [one.below(n) for _ in range(5)]
    assert numbers == [other.below(n) for _ in range(5)]
    assert all(0 <= number < n for number in numbers)


@pytest.mark.parametrize("part", range(4))
def test_every_part_of_the_key_matters(part: int) -> None:
    one, other = [1, 2, 3, 4], [1, 2, 3, 4]
    other[part] += 1
    assert Draw(*one).below(2**62) != Draw(*other).below(2**62)


@pytest.mark.parametrize("n", [2, 7, 100])
@pytest.mark.parametrize("part", range(5))
def test_numbers_are_uniform_along_every_part_of_the_key(n: int, part: int) -> None:
    counts: Counter[int] = Counter()
    for i in range(20_000):
        key = [5, 5, 5, 5]
        if part < 4:
            key[part] = i
            counts[Draw(*key).below(n)] += 1
    if part == 4:  # numbers of one decision
        draw = Draw(5, 5, 5, 5)
        counts = Counter(draw.below(n) for _ in range(20_000))
    assert chisquare([counts[i] for i in range(n)]).pvalue > 1e-4
