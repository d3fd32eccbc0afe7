"""Claim: random's mean time varies between worlds by 1/genres, 1/artists and 1/users.

python -m benchmarks.world_spread [--worlds N]

Prints the mean and the standard deviation between worlds of the time that random play is expected
to come to, for worlds of some sizes, and the variance per genre, artist and user that fits them:
the constants of simulator/core/calibration.py, which `world check` uses.
"""

import argparse
import itertools

import numpy as np
from scipy.optimize import nnls

from simulator.core.calibration import between_worlds, expect_random_time
from simulator.core.world import WorldParameters, make_dynamics, make_world

SIZES = [*itertools.product((16, 64), (100, 1_000), (200, 2_000)), (64, 2_000, 10_000)]


def measure_times(n_genres: int, n_artists: int, n_users: int, n_worlds: int) -> list[float]:
    """Return what random play is expected to come to in some worlds of a size."""
    times = []
    for seed in range(n_worlds):
        parameters = WorldParameters(
            n_tracks=10 * n_artists,
            n_artists=n_artists,
            n_users=n_users,
            n_genres=n_genres,
            seed=seed,
        )
        dynamics = make_dynamics(make_world(parameters))
        rng = np.random.default_rng(seed)
        times.append(expect_random_time(dynamics.embeddings, dynamics.listeners, rng))
    return times


def main() -> None:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=60)
    arguments = parser.parse_args()
    variances = []
    for size in SIZES:
        times = measure_times(*size, arguments.worlds)
        variances.append(np.var(times, ddof=1))
        print(
            f"{size[0]:>3} genres, {size[1]:>6,} artists, {size[2]:>6,} users: "
            f"mean {np.mean(times):.3f}, deviation {np.std(times, ddof=1):.3f}, "
            f"calibrated {between_worlds(*size):.3f}",
            flush=True,
        )
    # A variance is known to a share of itself: weigh each size alike.
    inverse = 1.0 / np.array(SIZES, dtype=np.float64)
    weights = 1.0 / np.array(variances)
    terms, _ = nnls(inverse * weights[:, None], np.ones(len(SIZES)))
    print("variance per genre {:.3f}, per artist {:.3f}, per user {:.3f}".format(*terms))


if __name__ == "__main__":
    main()
