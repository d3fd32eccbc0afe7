"""Keyed randomness."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from simulator.core.draws import Purpose, draw_bits, draw_uniform, episode_key, episode_keys, mix

SEEDS = st.integers(-(2**63), 2**64)
EPISODES = st.lists(st.integers(0, 2**40), min_size=1, max_size=20)


@given(SEEDS, EPISODES, st.integers(0, 10_000), st.integers(0, 500))
def test_one_episode_draws_what_a_batch_draws(
    seed: int, episodes: list[int], position: int, purpose: int
) -> None:
    keys = episode_keys(seed, np.array(episodes))
    assert keys.tolist() == [episode_key(seed, episode) for episode in episodes]
    batch = draw_uniform(keys, position, purpose)
    alone = [draw_uniform(int(key), position, purpose) for key in keys]
    assert batch.tolist() == alone
    assert all(0.0 <= value < 1.0 for value in alone)


def test_mix_is_splitmix64() -> None:
    # The first outputs of the reference generator with seed 1234567.
    golden = 0x9E3779B97F4A7C15
    state = [(1234567 + golden * (i + 1)) % 2**64 for i in range(3)]
    assert [mix(value) for value in state] == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
    ]


def test_draws_stay_what_they_were() -> None:
    # A change here changes every simulated number that was ever published.
    keys = ((0, 0, 0), (1, 0, 0), (0, 1, 3), (12345, 7, 16))
    assert [draw_uniform(episode_key(31337, episode), p, q) for episode, p, q in keys] == [
        0.8389196607912234,
        0.8984840157828462,
        0.921595250734279,
        0.7191961612265262,
    ]


def test_draws_of_different_keys_differ() -> None:
    keys = [episode_key(seed, episode) for seed in range(20) for episode in range(20)]
    draws = {draw_bits(key, p, q) for key in keys for p in range(10) for q in range(10)}
    assert len(draws) == 20 * 20 * 10 * 10


def test_draws_are_uniform_and_uncorrelated() -> None:
    keys = episode_keys(7, np.arange(200_000))
    first = draw_uniform(keys, 1, Purpose.PATIENCE)
    for other in (
        draw_uniform(keys, 2, Purpose.PATIENCE),
        draw_uniform(keys, 1, Purpose.CHOICE),
        draw_uniform(episode_keys(8, np.arange(200_000)), 1, Purpose.PATIENCE),
    ):
        assert abs(np.corrcoef(first, other)[0, 1]) < 0.01
    counts = np.bincount((first * 100).astype(int), minlength=100)
    chi_square = ((counts - 2_000) ** 2 / 2_000).sum()
    assert chi_square < 150  # 99 degrees of freedom: p < 0.001 above
