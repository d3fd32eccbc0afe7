"""Thousands of listeners at once as one Gymnasium vector environment."""

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium import spaces
from gymnasium.error import ResetNeeded
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from simulator.core.crowd import Crowd
from simulator.core.draws import KeyArray
from simulator.core.dynamics import BoolArray, EpisodeArray
from simulator.core.listeners import ListenerDefaults
from simulator.core.world import World, make_dynamics
from simulator.env import MAX_SEED, Observation, make_observation_space, open_world


class ListenerVectorEnv(VectorEnv[Observation, npt.NDArray[np.int64], npt.NDArray[Any]]):
    """Many listeners at once, over the batched core; each seat is a `ListenerEnv`.

    Spaces, rewards and episodes are those of `ListenerEnv`, batched. `reset(seed=s)` gives seat i
    the seed s + i, a list gives each its own. `final_obs` and the masks in `info` are as
    `gymnasium.vector.SyncVectorEnv` gives them, in each of the three modes of resetting.
    """

    def __init__(
        self,
        num_envs: int = 1,
        world: World | Path | str | None = None,
        *,
        defaults: ListenerDefaults | None = None,
        autoreset_mode: AutoresetMode | str = AutoresetMode.NEXT_STEP,
    ) -> None:
        """Bring a world to life.

        Args:
            num_envs: Seats.
            world: A world, or the folder of one; by default a generated one of 5,000 tracks.
            defaults: What users' lines leave open.
            autoreset_mode: When a seat whose listener has left gets the next one: with the next
                step, whose action it ignores, with the same step, or with a `reset` whose option
                `reset_mask` names it.

        Raises:
            WorldError: If the folder's world cannot be used.
        """
        self._dynamics = make_dynamics(open_world(world), defaults)
        self._mode = AutoresetMode(autoreset_mode)
        self.metadata = {"autoreset_mode": self._mode}
        self.num_envs = num_envs
        self.single_action_space = spaces.Discrete(self._dynamics.n_tracks)
        self.single_observation_space = make_observation_space(self._dynamics)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self._crowd = Crowd(self._dynamics, num_envs)
        self._seeds: KeyArray = np.zeros(num_envs, dtype=np.uint64)
        self._is_seeded: BoolArray = np.zeros(num_envs, dtype=np.bool_)
        self._episodes: EpisodeArray = np.zeros(num_envs, dtype=np.int64)

    def reset(
        self,
        *,
        seed: int | list[int | None] | None = None,
        options: dict[str, Any] | None = None,
    ) -> tuple[Observation, dict[str, Any]]:
        """Open the next session in every seat, or the first of its seed.

        Args:
            seed: Of seat 0, seat i gets the i-th after it; or one per seat.
            options: `reset_mask`, bool (num_envs,): the seats to reset, all by default.
        """
        super().reset(seed=seed if isinstance(seed, int) else None)
        seats = self._read_mask(options)
        if isinstance(seed, int):
            seed = [seed + seat for seat in range(self.num_envs)]
        self._open(seats, seed or [None] * self.num_envs)
        return self._observe(), self._inform(seats)

    def step(
        self, actions: npt.NDArray[np.int64]
    ) -> tuple[Observation, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any], dict[str, Any]]:
        """Recommend a track in every seat.

        Raises:
            ValueError: If there is no such track, or another number of seats.
            ResetNeeded: If a listener has left and the seat is not reset by itself.
        """
        rows = self._read_actions(actions)
        if not self._is_seeded.all():
            raise ResetNeeded("no listener has come: call reset()")
        was_over = self._crowd.is_over
        if was_over.any() and self._mode != AutoresetMode.NEXT_STEP:
            raise ResetNeeded(f"seats without a listener: {np.flatnonzero(was_over).tolist()}")
        self._crowd.listen(~was_over, rows[~was_over])
        rewards = np.where(was_over, 0.0, self._crowd.times)
        terminations = self._crowd.is_over & ~was_over
        infos: dict[str, Any] = {}
        opens = was_over
        if self._mode == AutoresetMode.SAME_STEP and terminations.any():
            opens = terminations
            infos = self._tell_final(terminations)
        if opens.any():
            self._open(opens, [None] * self.num_envs)
            infos |= self._inform(opens)
        return self._observe(), rewards, terminations, np.zeros_like(terminations), infos

    def _open(self, seats: BoolArray, seeds: list[int | None]) -> None:
        """Open the next session in some seats, the first one where there is a new seed."""
        if len(seeds) != self.num_envs:
            raise ValueError(f"{len(seeds)} seeds for {self.num_envs} seats")
        self._episodes[seats] += 1
        for seat in np.flatnonzero(seats):
            seed = seeds[seat]
            if seed is None and self._is_seeded[seat]:
                continue
            drawn = int(self.np_random.integers(MAX_SEED)) if seed is None else seed
            self._seeds[seat] = drawn % 2**64
            self._is_seeded[seat] = True
            self._episodes[seat] = 0
        self._crowd.open(seats, self._seeds[seats], self._episodes[seats])

    def _observe(self) -> Observation:
        return {
            "user": self._crowd.users.astype(np.int64),
            "track": self._crowd.tracks.astype(np.int64),
            "time": self._crowd.times.astype(np.float32)[:, None],
        }

    def _inform(self, seats: BoolArray) -> dict[str, Any]:
        ids = self._dynamics.listeners.ids[self._crowd.users]
        return {
            "episode": np.where(seats, self._episodes, 0),
            "_episode": seats.copy(),
            "user_id": np.where(seats, ids, 0).astype(np.int64),
            "_user_id": seats.copy(),
        }

    def _tell_final(self, seats: BoolArray) -> dict[str, Any]:
        observed = self._observe()
        final = np.full(self.num_envs, None, dtype=np.object_)
        for seat in np.flatnonzero(seats):
            final[seat] = {name: column[seat] for name, column in observed.items()}
        return {
            "final_obs": final,
            "_final_obs": seats.copy(),
            "final_info": {},
            "_final_info": seats.copy(),
        }

    def _read_actions(self, actions: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        rows = np.asarray(actions)
        n_tracks = self._dynamics.n_tracks
        if rows.shape != (self.num_envs,) or rows.dtype.kind not in "iu":
            raise ValueError(f"actions: {rows.dtype} {rows.shape} for {self.num_envs} seats")
        is_bad = (rows < 0) | (rows >= n_tracks)
        if is_bad.any():
            seat = int(is_bad.argmax())
            raise ValueError(f"seat {seat}: action {rows[seat]} is no row of {n_tracks} tracks")
        return rows.astype(np.int32)

    def _read_mask(self, options: dict[str, Any] | None) -> BoolArray:
        mask = np.asarray((options or {}).get("reset_mask", np.ones(self.num_envs, dtype=np.bool_)))
        if mask.dtype != np.bool_ or mask.shape != (self.num_envs,) or not mask.any():
            raise ValueError(f"reset_mask: not {self.num_envs} booleans of which one is true")
        return mask
