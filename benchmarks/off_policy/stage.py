"""A world in which policies are logged, and played to see what they earn."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from analysis.core.exposures import Decision, IntArray, LoggedSession, Tracks, replay
from analysis.core.targets import Model, Target, make_target
from simulator.core.live_session import LiveSession, open_sessions
from simulator.core.world import World, WorldParameters, make_dynamics, make_world

Array = npt.NDArray[np.float64]
N_NEIGHBOURS = 50
NOISE = 1.0  # of the embeddings that neighbours are taken from, in their own standard deviations


@dataclasses.dataclass(frozen=True)
class Stage:
    """A world with what policies need of it.

    Attributes:
        world: Its catalogue, tracks and listeners.
        tracks: The catalogue as estimates read it.
        model: Neighbours as a trained model would have them, with errors; popular tracks.
        seed: Of the listeners' episodes.
    """

    world: World
    tracks: Tracks
    model: Model
    seed: int

    def make_target(self, recommender: str, **parameters: object) -> Target:
        """Make a policy."""
        return make_target(recommender, parameters, tracks=self.tracks, model=self.model)

    def play(
        self, policy: Target, episodes: range, *, most: int | None = None
    ) -> list[LoggedSession]:
        """Play episodes, each to its end or to so many recommendations."""
        dynamics = make_dynamics(self.world)
        generator = np.random.default_rng([self.seed, episodes.start])
        return [
            self._play_one(session, policy, generator, most=most)
            for session in open_sessions(dynamics, self.seed, episodes)
        ]

    def _play_one(
        self,
        session: LiveSession,
        policy: Target,
        generator: np.random.Generator,
        *,
        most: int | None,
    ) -> LoggedSession:
        tracks, times, propensities = [session.track], [1.0], []
        heard, artists = {session.track}, Counter([int(self.tracks.artists[session.track])])
        while not session.is_over and (most is None or len(tracks) <= most):
            decision = Decision(
                user=session.user,
                step=len(tracks),
                first=tracks[0],
                last=tracks[-1],
                heard=heard,
                artists=artists,
                mean_time=0.0,
                served=-1,
                propensity=1.0,
                reward=0.0,
            )
            choices = policy.choices(decision)
            row = int(choices.draw(generator, 1)[0])
            times.append(session.listen(row))
            tracks.append(row)
            propensities.append(1 / len(choices))
            heard.add(row)
            artists[int(self.tracks.artists[row])] += 1
        return LoggedSession(
            session.user, tracks, times, [*tracks[1:], None], [*propensities, None]
        )

    def reward_in(
        self, sessions: Sequence[LoggedSession], policy: Target, *, first_episode: int
    ) -> float:
        """Return what a policy's own choices would have earned in logged situations, on average.

        One choice is drawn in each; that of the log is what came of it there, whatever it was.
        """
        dynamics = make_dynamics(self.world)
        generator = np.random.default_rng([self.seed, 1])
        episodes = np.arange(first_episode, first_episode + len(sessions))
        opened = dynamics.open_sessions(self.seed, episodes)
        chosen: dict[int, list[tuple[int, int]]] = {}
        for number, session in enumerate(sessions):
            for decision in replay(session, self.tracks):
                row = int(policy.choices(decision).draw(generator, 1)[0])
                chosen.setdefault(decision.step, []).append((number, row))
        total, n_decisions = 0.0, 0
        for step, pairs in chosen.items():
            numbers = np.array([number for number, _ in pairs])
            played = np.array([sessions[n].tracks[:step] for n in numbers], np.int32)
            total += float(
                dynamics.listen(
                    np.array([row for _, row in pairs], np.int32),
                    users=opened.users[numbers],
                    interests=opened.interests[numbers],
                    played=played,
                    played_artists=self.tracks.artists[played],
                ).sum()
            )
            n_decisions += len(pairs)
        return total / n_decisions


def make_stage(parameters: WorldParameters) -> Stage:
    """Make a world, and a model of it with errors."""
    world = make_world(parameters)
    generator = np.random.default_rng([parameters.seed, 2])
    embeddings = world.embeddings
    noise = NOISE * embeddings.std() * generator.normal(size=embeddings.shape)
    scores = (embeddings + noise) @ embeddings.T
    np.fill_diagonal(scores, -np.inf)
    neighbours: IntArray = np.argsort(-scores, axis=1)[:, :N_NEIGHBOURS].astype(np.int32)
    catalog = world.catalog
    genres = {genre: n for n, genre in enumerate(sorted({t.genre or "" for t in catalog.tracks}))}
    tracks = Tracks(
        ids=catalog.track_ids,
        artists=catalog.artist_rows,
        genres=np.array([genres[track.genre or ""] for track in catalog.tracks], np.int32),
    )
    popular = np.bincount(
        np.array([row for user in world.users for row in user.interests]), minlength=len(catalog)
    )
    model = Model(neighbours=neighbours, top_tracks=np.argsort(-popular).tolist())
    return Stage(world, tracks, model, parameters.seed)
