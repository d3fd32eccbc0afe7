"""The listener as a Gymnasium environment: `segue/Listener-v0`.

The agent is the recommender. It is rewarded with the fraction of each recommendation that the
listener plays; an episode is one session and ends when the listener leaves.
"""

from pathlib import Path
from typing import Any

import numpy as np

from shared.extras import import_extra
from simulator.adapters.world_files import load_world
from simulator.core.dynamics import Dynamics
from simulator.core.listeners import ListenerDefaults
from simulator.core.live_session import LiveSession, open_session
from simulator.core.world import World, WorldParameters, make_dynamics, make_world

import_extra("gymnasium", extra="gym", purpose="the environment")
import gymnasium  # noqa: E402
from gymnasium import spaces  # noqa: E402
from gymnasium.error import ResetNeeded  # noqa: E402

ENV_ID = "segue/Listener-v0"
DEFAULT_WORLD = WorldParameters(n_tracks=5_000, n_artists=500, n_users=1_000)
MAX_SEED = 2**63  # of seeds that are drawn

Observation = dict[str, Any]


class ListenerEnv(gymnasium.Env[Observation, np.int64]):
    """One listener at a time.

    Action space: `Discrete(n_tracks)`, the catalogue row to recommend. A repeat plays 0.

    Observation space: a `Dict` of what a recommender is told:
        user: Row of the listener in `users.json`, `Discrete(n_users)`.
        track: Row of the latest playback, `Discrete(n_tracks)`.
        time: Fraction of it that was listened to, float32 `Box(0, 1, (1,))`.

    Reward: `time`, in hundredths. The track that opens a session is played in full and rewards
    nobody: a return is the session's time less 1.

    Episodes: `reset(seed=s)` opens episode 0 of seed s, each `reset()` after it the next one: the
    sessions that `simulate --seed s` plays. `reset(options={"episode": n})` opens episode n.
    Without a seed one is drawn. `info` of a reset names the episode and the listener's `user_id`.

    An episode terminates when the listener leaves and is never truncated.
    """

    metadata: dict[str, Any] = {"render_modes": ["ansi"], "render_fps": 1}  # noqa: RUF012

    def __init__(
        self,
        world: World | Path | str | None = None,
        *,
        defaults: ListenerDefaults | None = None,
        render_mode: str | None = None,
    ) -> None:
        """Bring a world to life.

        Args:
            world: A world, or the folder of one; by default a generated one of 5,000 tracks.
            defaults: What users' lines leave open.
            render_mode: `ansi`, or None.

        Raises:
            WorldError: If the folder's world cannot be used.
        """
        self.render_mode = render_mode
        loaded = open_world(world)
        self._catalog = loaded.catalog
        self._dynamics = make_dynamics(loaded, defaults)
        self.action_space = spaces.Discrete(self._dynamics.n_tracks)
        self.observation_space = make_observation_space(self._dynamics)
        self._row_of_user = {
            user: row for row, user in enumerate(self._dynamics.listeners.ids.tolist())
        }
        self._seed: int | None = None
        self._episode = 0
        self._session: LiveSession | None = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observation, dict[str, Any]]:
        """Open the next session, or the first of a seed."""
        super().reset(seed=seed)
        if seed is None and self._seed is not None:
            self._episode += 1
        else:
            self._seed = int(self.np_random.integers(MAX_SEED)) if seed is None else seed
            self._episode = 0
        self._episode = int((options or {}).get("episode", self._episode))
        self._session = open_session(self._dynamics, self._seed, self._episode)
        return self._observe(self._session), {
            "episode": self._episode,
            "user_id": self._session.user,
        }

    def step(self, action: np.int64) -> tuple[Observation, float, bool, bool, dict[str, Any]]:
        """Recommend a track.

        Raises:
            ValueError: If there is no such track.
            ResetNeeded: If the listener has left, or none has come.
        """
        if self._session is None or self._session.is_over:
            raise ResetNeeded("the listener has left, or none has come: call reset()")
        if not self.action_space.contains(action):
            raise ValueError(f"action {action} is no row of {self._dynamics.n_tracks} tracks")
        reward = self._session.listen(int(action))
        return self._observe(self._session), reward, self._session.is_over, False, {}

    def render(self) -> str | None:
        """Return the latest playback in words, if the mode is `ansi`."""
        if self.render_mode != "ansi" or self._session is None:
            return None
        session = self._session
        track = self._catalog.tracks[session.track]
        left = ", and left" if session.is_over else ""
        return (
            f"user {session.user} played {session.time:.0%} of {track.title!r} by {track.artist}, "
            f"track {session.n_tracks} of the session{left}"
        )

    def _observe(self, session: LiveSession) -> Observation:
        return {
            "user": np.int64(self._row_of_user[session.user]),
            "track": np.int64(session.track),
            "time": np.array([session.time], dtype=np.float32),
        }


def make_observation_space(dynamics: Dynamics) -> spaces.Dict:
    """Make the space of what a recommender is told."""
    return spaces.Dict(
        {
            "user": spaces.Discrete(len(dynamics.listeners)),
            "track": spaces.Discrete(dynamics.n_tracks),
            "time": spaces.Box(0.0, 1.0, (1,), dtype=np.float32),
        }
    )


def open_world(world: World | Path | str | None) -> World:
    """Take a world, load one from its folder, or make a small standard one."""
    if world is None:
        return make_world(DEFAULT_WORLD)
    return world if isinstance(world, World) else load_world(Path(world))


gymnasium.register(
    id=ENV_ID,
    entry_point="simulator.env:ListenerEnv",
    vector_entry_point="simulator.vector_env:ListenerVectorEnv",
)
