"""Sessions through the recommender's own decisions, without HTTP, spread over processes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from deploy.loop.engine import Trained
from deploy.loop.forks import map_forked
from deploy.loop.plan import Plan
from deploy.loop.plays import Plays, join_plays
from services.recommender.core.catalog_index import CatalogIndex, make_catalog_index
from services.recommender.core.decisions import Clock, Decider
from services.recommender.core.models import LATEST, Models, make_served_model
from shared.experiments import ExperimentSet
from simulator.core.dynamics import Dynamics, EpisodeArray
from simulator.core.live_session import open_session
from simulator.core.world import World, make_dynamics
from simulator.live import prepare

EPISODES_AT_ONCE = 25  # few, so that the last process ends soon after the others

Advance = Callable[[int], None]


@dataclass(frozen=True, kw_only=True)
class Theatre:
    """Where sessions are played.

    Attributes:
        dynamics: The listeners.
        index: Their catalogue.
        seed: Of the listeners.
        recommender_seed: Of the recommender's draws.
        most_plays: A session is cut there.
        n_workers: Processes; what is played does not depend on their number.
    """

    dynamics: Dynamics
    index: CatalogIndex
    seed: int
    recommender_seed: int = 0
    most_plays: int
    n_workers: int

    def serve(self, trained: Trained) -> Models:
        """Serve a version to everybody."""
        served = make_served_model(
            trained.version,
            checksum=self.index.checksum,
            arrays=trained.arrays,
            catalog=self.index,
        )
        return Models({LATEST: served})

    def play(
        self,
        experiments: ExperimentSet,
        models: Models,
        episodes: EpisodeArray,
        *,
        advance: Advance = lambda _: None,
    ) -> Plays:
        """Play episodes; each user gets the arm that the experiment assigns.

        Args:
            experiments: Whose serving experiment recommends.
            models: That it recommends from.
            episodes: Which; at least one.
            advance: Told of the sessions played, now and then.

        Raises:
            WorkerDiedError: If a process dies.
        """
        prepare(self.dynamics, self.seed, episodes)
        decider = Decider(self.index, experiments, seed=self.recommender_seed, clock=Clock())

        def play_some(some: EpisodeArray) -> Plays:
            return join_plays([self._play_one(decider, models, each) for each in some.tolist()])

        parts = []
        shares = [
            episodes[begin : begin + EPISODES_AT_ONCE]
            for begin in range(0, len(episodes), EPISODES_AT_ONCE)
        ]
        for part in map_forked(play_some, shares, n_workers=self.n_workers):
            parts.append(part)
            advance(len(part.episodes))
        return join_plays(parts)

    def _play_one(self, decider: Decider, models: Models, episode: int) -> Plays:
        session = open_session(self.dynamics, self.seed, episode)
        served = decider.open_session(session.user, models)
        tracks, times, n_fallbacks = [session.track], [session.time], 0
        while not session.is_over and session.n_tracks < self.most_plays:
            chosen = served.recommend(session.track, session.time)
            n_fallbacks += chosen.fallback is not None
            times.append(session.listen(chosen.choice.row))
            tracks.append(session.track)
        return Plays(
            episodes=np.array([episode], np.int64),
            users=np.array([session.user], np.int32),
            lengths=np.array([len(tracks)], np.int32),
            tracks=np.array(tracks, np.int32),
            hundredths=np.rint(np.array(times) * 100).astype(np.uint8),
            n_fallbacks=n_fallbacks,
        )


def make_theatre(plan: Plan, world: World, n_workers: int) -> Theatre:
    """Make the place where sessions are played in process."""
    return Theatre(
        dynamics=make_dynamics(world),
        index=make_catalog_index(world.catalog),
        seed=plan.seed,
        most_plays=plan.most_plays,
        n_workers=n_workers,
    )
