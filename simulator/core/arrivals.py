"""When listeners come, if they come at a rate of their own: an open loop."""

from typing import Literal

import numpy as np

from simulator.core.draws import FloatArray, Purpose, draw_uniform, episode_keys
from simulator.core.dynamics import EpisodeArray

Arrivals = Literal["poisson", "fixed"]
ARRIVALS: tuple[Arrivals, ...] = ("poisson", "fixed")


def schedule_arrivals(
    seed: int, episodes: EpisodeArray, *, rate: float, arrivals: Arrivals
) -> FloatArray:
    """Schedule the sessions of episodes; whoever is slow does not delay who comes next.

    Args:
        seed: Of the listeners.
        episodes: In order of coming, shape (n_episodes,).
        rate: Sessions per second, on average.
        arrivals: `poisson`, whose gaps are exponential and independent, or `fixed`.

    Returns:
        Seconds after the start, ascending, shape (n_episodes,).
    """
    if arrivals == "fixed":
        return np.arange(len(episodes)) / rate
    uniform = draw_uniform(episode_keys(seed, episodes), 0, Purpose.ARRIVAL)
    due: FloatArray = np.cumsum(-np.log1p(-uniform)) / rate
    return due
