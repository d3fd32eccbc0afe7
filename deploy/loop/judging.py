"""How good a day's model is by itself, and how good anything could be: on the same sessions."""

from dataclasses import dataclass

import numpy as np

from deploy.loop.engine import Trained
from deploy.loop.forks import map_forked
from deploy.loop.measures import Measured, find_treated, measure
from deploy.loop.plan import FIRST_JUDGED, Plan
from deploy.loop.playing import Theatre
from deploy.loop.plays import Visits
from deploy.steps import Show, count_up
from simulator.core.bounds import Oracle
from simulator.core.draws import episode_keys
from simulator.core.dynamics import EpisodeArray
from simulator.core.listeners import FloatArray
from simulator.rollout import simulate


@dataclass
class Judge:
    """Plays the same sessions of treated users each day; none of them is logged."""

    plan: Plan
    theatre: Theatre

    def play_greedily(self, trained: Trained, show: Show) -> Visits:
        """Play with a model that does not explore."""
        episodes = self.choose_sessions(self.plan.judged)
        return self.theatre.play(
            self.plan.experiments(explores=False),
            self.theatre.serve(trained),
            episodes,
            advance=count_up(show, len(episodes), "sessions"),
        ).visits

    def play_oracle(self) -> Measured:
        """Measure the oracle."""
        dynamics = self.theatre.dynamics
        oracle = Oracle(dynamics)
        episodes = self.choose_sessions(self.plan.bounded)
        size = oracle.batch_size
        batches = [episodes[begin : begin + size] for begin in range(0, len(episodes), size)]

        def play(batch: EpisodeArray) -> tuple[FloatArray, np.ndarray]:
            (played,) = simulate(dynamics, oracle, seed=self.plan.seed, episodes=batch)
            return np.add.reduceat(played.time, played.starts), played.user[played.starts]

        parts = list(map_forked(play, batches, n_workers=self.theatre.n_workers))
        times, users = (np.concatenate(column) for column in zip(*parts, strict=True))
        return measure(times, users)

    def choose_sessions(self, n: int) -> EpisodeArray:
        """List the first n sessions of treated users among those kept for judging."""
        episodes = FIRST_JUDGED + np.arange(4 * n + 100)
        rows, _ = self.theatre.dynamics.draw_interests(episode_keys(self.plan.seed, episodes))
        users = self.theatre.dynamics.listeners.ids[rows]
        chosen: EpisodeArray = episodes[find_treated(users, self.plan.experiments())][:n]
        return chosen
