"""The Gymnasium environments: their rules, and the same sessions as everywhere else."""

import subprocess
import sys
import warnings
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.error import ResetNeeded
from gymnasium.utils.env_checker import check_env
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from shared.catalog import Track, make_catalog
from simulator.core.listeners import User
from simulator.core.policies import Random, StickyArtist
from simulator.core.world import World, make_dynamics
from simulator.env import ENV_ID, ListenerEnv
from simulator.rollout import play_batch
from simulator.vector_env import ListenerVectorEnv
from tests.unit.simulator.worlds import make_small_world

WORLD = make_small_world()
DYNAMICS = make_dynamics(WORLD)
N_TRACKS = len(WORLD.catalog)


def test_the_registered_environment_passes_gymnasiums_check_without_a_warning() -> None:
    environment = gymnasium.make(ENV_ID, world=WORLD)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        check_env(environment.unwrapped)
    assert [str(warning.message) for warning in caught] == []


def test_the_default_world_needs_no_files() -> None:
    environment = gymnasium.make("simulator.env:segue/Listener-v0")
    observation, info = environment.reset(seed=1)
    assert observation in environment.observation_space
    assert info["episode"] == 0
    assert environment.action_space == gymnasium.spaces.Discrete(5_000)


@pytest.mark.parametrize(
    "policy", [Random(N_TRACKS), StickyArtist(DYNAMICS.artist_rows)], ids=lambda policy: policy.name
)
def test_episodes_are_those_of_the_rollout(policy: Any) -> None:
    batch = play_batch(DYNAMICS, policy, seed=9, episodes=np.arange(40))
    environment = ListenerEnv(WORLD)
    for episode in range(40):
        played = batch.episode == episode
        observation, info = environment.reset(seed=9 if episode == 0 else None)
        assert (info["episode"], info["user_id"]) == (episode, batch.user[played][0])
        assert observation["track"] == batch.track[played][0]
        rewards = []
        for track in batch.track[played][1:]:
            observation, reward, terminated, truncated, _ = environment.step(np.int64(track))
            rewards.append(reward)
            assert observation["track"] == track
            assert observation["time"] == np.float32(reward)
            assert not truncated
        assert rewards == batch.time[played][1:].tolist()
        assert terminated


def test_an_episode_can_be_asked_for() -> None:
    environment = ListenerEnv(WORLD)
    environment.reset(seed=3)
    environment.reset()
    second, info = environment.reset()
    asked, also = environment.reset(seed=3, options={"episode": 2})
    assert asked["track"] == second["track"]
    assert info == also
    assert environment.reset()[1]["episode"] == 3


def test_without_a_seed_listeners_differ() -> None:
    firsts = {int(ListenerEnv(WORLD).reset()[0]["track"]) for _ in range(12)}
    assert len(firsts) > 1


def test_steps_out_of_turn_and_impossible_tracks_are_refused() -> None:
    environment = ListenerEnv(WORLD)
    with pytest.raises(ResetNeeded):
        environment.step(np.int64(0))
    observation, _ = environment.reset(seed=0)
    with pytest.raises(ValueError, match="action 400 is no row of 400 tracks"):
        environment.step(np.int64(400))
    terminated = False
    while not terminated:  # repeats play nothing
        _, _, terminated, _, _ = environment.step(observation["track"])
    with pytest.raises(ResetNeeded):
        environment.step(np.int64(0))


def test_a_playback_can_be_read() -> None:
    environment = ListenerEnv(WORLD, render_mode="ansi")
    observation, info = environment.reset(seed=0)
    track = WORLD.catalog.tracks[observation["track"]]
    rendered = environment.render()
    assert rendered is not None
    assert f"user {info['user_id']} played 100% of {track.title!r} by {track.artist}" in rendered
    assert ListenerEnv(WORLD).render() is None


def assert_same(ours: Any, theirs: Any) -> None:
    """Compare nested observations or infos, types included."""
    assert type(ours) is type(theirs), (ours, theirs)
    if isinstance(ours, tuple):
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    elif isinstance(ours, dict):
        assert ours.keys() == theirs.keys()
        for key in ours:
            assert_same(ours[key], theirs[key])
    elif isinstance(ours, np.ndarray) and ours.dtype == object:
        for mine, other in zip(ours, theirs, strict=True):
            assert_same(mine, other)
    elif isinstance(ours, np.ndarray):
        assert ours.dtype == theirs.dtype
        assert ours.tolist() == theirs.tolist()
    else:
        assert ours == theirs


@pytest.mark.parametrize("mode", list(AutoresetMode))
def test_the_vector_environment_is_many_environments(mode: AutoresetMode) -> None:
    theirs = SyncVectorEnv([lambda: ListenerEnv(WORLD) for _ in range(7)], autoreset_mode=mode)
    ours = ListenerVectorEnv(7, WORLD, autoreset_mode=mode)
    assert ours.observation_space == theirs.observation_space
    assert ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] is mode
    assert_same(ours.reset(seed=5), theirs.reset(seed=5))
    rng = np.random.default_rng(0)
    n_ends = 0
    for step in range(150):
        actions = rng.integers(0, N_TRACKS, 7)
        mine, other = ours.step(actions), theirs.step(actions)
        assert_same(mine, other)
        n_ends += int(mine[2].sum())
        if mode == AutoresetMode.DISABLED and mine[2].any():
            mask = mine[2]
            assert_same(
                ours.reset(options={"reset_mask": mask}),
                theirs.reset(options={"reset_mask": mask}),
            )
        if step == 90:  # some seats get a seed, the others go on
            seeds = [3, None, 4, None, None, 5, 6]
            assert_same(ours.reset(seed=seeds), theirs.reset(seed=seeds))
    assert n_ends > 60


def test_thousands_of_seats_play_what_the_rollout_plays() -> None:
    """Play random's own tracks of seed i in seat i, one session each."""
    n_seats = 1_500
    policy = Random(N_TRACKS)
    batches = [play_batch(DYNAMICS, policy, seed=s, episodes=np.arange(1)) for s in range(n_seats)]
    environment = gymnasium.make_vec(
        ENV_ID, n_seats, vectorization_mode="vector_entry_point", world=WORLD
    )
    environment.reset(seed=0)
    returns, is_over = np.ones(n_seats), np.zeros(n_seats, dtype=np.bool_)
    position = 1
    while not is_over.all():
        actions = np.array([b.track[min(position, len(b) - 1)] for b in batches])
        _, rewards, terminations, _, _ = environment.step(actions)
        returns[~is_over] += rewards[~is_over]
        is_over |= terminations
        position += 1
    assert np.round(returns, 2).tolist() == [round(float(b.time.sum()), 2) for b in batches]


def test_a_session_outgrows_its_seat() -> None:
    tracks = [Track(row, f"artist {row}", f"title {row}") for row in range(100)]
    listener = User(0, (0,), consume_bias=-100.0)  # loves everything
    world = World(make_catalog(tracks), np.zeros((100, 3), dtype=np.float32), (listener,))
    environment = ListenerVectorEnv(2, world)
    observation, _ = environment.reset(seed=1)
    first = observation["track"]
    for row in range(99):
        _, rewards, terminations, _, _ = environment.step(row + (row >= first))
        assert rewards.tolist() == [1.0, 1.0]
        assert not terminations.any()
    _, rewards, _, _, _ = environment.step(np.array([0, 57]))
    assert rewards.tolist() == [0.0, 0.0]  # every track of the session is remembered


def test_vector_steps_out_of_turn_and_impossible_tracks_are_refused() -> None:
    environment = ListenerVectorEnv(3, WORLD)
    with pytest.raises(ResetNeeded, match="no listener has come"):
        environment.step(np.zeros(3, dtype=np.int64))
    with pytest.raises(ValueError, match="2 seeds for 3 seats"):
        environment.reset(seed=[1, 2])
    with pytest.raises(ValueError, match="reset_mask: not 3 booleans"):
        environment.reset(options={"reset_mask": np.zeros(3, dtype=np.bool_)})
    observation, _ = environment.reset(seed=0)
    with pytest.raises(ValueError, match="seat 1: action -1 is no row of 400 tracks"):
        environment.step(np.array([0, -1, 0]))
    with pytest.raises(ValueError, match=r"float64 \(3,\) for 3 seats"):
        environment.step(np.zeros(3))
    waiting = ListenerVectorEnv(3, WORLD, autoreset_mode=AutoresetMode.DISABLED)
    observation, _ = waiting.reset(seed=0)
    over = np.zeros(3, dtype=np.bool_)
    while not over.any():
        _, _, over, _, _ = waiting.step(observation["track"])
    with pytest.raises(ResetNeeded, match="seats without a listener"):
        waiting.step(observation["track"])


def test_without_gymnasium_the_extra_is_named() -> None:
    code = "import sys; sys.modules['gymnasium'] = None; import simulator.env"
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert result.returncode == 1
    assert (
        "the environment needs gymnasium, which is not installed: pip install 'segue[gym]'"
        in result.stderr
    )
