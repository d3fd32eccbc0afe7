"""The listener's rules, for any listeners and careless recommenders."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.catalog import Track, make_catalog
from simulator.core.draws import Purpose, draw_uniform
from simulator.core.dynamics import Dynamics, Sessions, choose, listened_time
from simulator.core.listeners import User
from simulator.core.policies import Choice
from simulator.core.world import World, make_dynamics
from simulator.rollout import Playbacks, play_batch
from tests.unit.simulator.reference import ReferenceSession, play_reference

N_TRACKS = 14


class Careless:
    """Any track, played before or not."""

    name = "careless"
    batch_size = 8192

    def begin(self, sessions: Sessions) -> None:
        """Need nothing."""

    def recommend(self, sessions: Sessions) -> Choice:
        n = len(sessions)
        uniform = draw_uniform(sessions.keys, sessions.position + 1, Purpose.CHOICE)
        tracks = choose(uniform, np.full(n, N_TRACKS, dtype=np.int32))
        return Choice(tracks, np.full(n, 1 / N_TRACKS), np.zeros(n, dtype=np.bool_))


def recommend_careless(session: ReferenceSession) -> int:
    return int(session.draw(len(session.tracks), Purpose.CHOICE) * N_TRACKS)


def users() -> st.SearchStrategy[User]:
    """Make listeners of every kind."""
    return st.builds(
        User,
        user=st.just(0),
        interests=st.lists(st.integers(0, N_TRACKS - 1), min_size=1, max_size=4).map(tuple),
        consume_bias=st.floats(-6, 10),
        consume_sharpness=st.floats(0.05, 4),
        interest_neighbours=st.integers(1, 2 * N_TRACKS),
        session_budget=st.integers(1, 9),
        artist_discount_gamma=st.floats(0, 1),
    )


@st.composite
def worlds(draw: st.DrawFn) -> Dynamics:
    """Make small worlds with artists of one to all of the tracks."""
    people = draw(st.lists(users(), min_size=1, max_size=4))
    n_artists = draw(st.integers(1, N_TRACKS))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    embeddings = rng.normal(0, 1.5, (N_TRACKS, 4)).astype(np.float32)
    tracks = [Track(row, f"artist {row % n_artists}", f"title {row}") for row in range(N_TRACKS)]
    listeners = tuple(
        User(
            index,
            user.interests,
            user.consume_bias,
            user.consume_sharpness,
            user.interest_neighbours,
            user.session_budget,
            user.artist_discount_gamma,
        )
        for index, user in enumerate(people)
    )
    return make_dynamics(World(make_catalog(tracks), embeddings, listeners))


def play(dynamics: Dynamics, n: int, seed: int = 5) -> Playbacks:
    return play_batch(dynamics, Careless(), seed=seed, episodes=np.arange(n))


@settings(max_examples=60)
@given(worlds(), st.integers(0, 2**63))
def test_batch_equals_the_plain_loop_for_any_listeners(dynamics: Dynamics, seed: int) -> None:
    played = play(dynamics, 12, seed)
    for episode in range(12):
        session = play_reference(dynamics, recommend_careless, seed=seed, episode=episode)
        mine = played.episode == episode
        assert played.track[mine].tolist() == session.tracks
        assert played.time[mine].tolist() == session.times


@settings(max_examples=25)
@given(worlds(), st.integers(0, 2**32))
def test_tracks_exceed_time_by_the_budget_for_any_listeners(dynamics: Dynamics, seed: int) -> None:
    played = play(dynamics, 3_000, seed)
    times = np.add.reduceat(played.time, played.starts)
    tracks = np.diff(np.append(played.starts, len(played)))
    budget = dynamics.listeners.budget[played.user[played.starts]]
    excess = tracks - times - budget
    assert abs(excess.mean()) <= 5.5 * excess.std(ddof=1) / len(excess) ** 0.5 + 1e-9


@settings(max_examples=40)
@given(worlds())
def test_a_repeat_plays_nothing_and_nothing_else_is_forgotten(dynamics: Dynamics) -> None:
    played = play(dynamics, 60)
    session = played.episode * N_TRACKS + played.track
    _, first = np.unique(session, return_index=True)  # the first time that each is played
    is_repeat = np.ones(len(played), dtype=np.bool_)
    is_repeat[first] = False
    assert (played.time[is_repeat] == 0).all()
    assert (played.time[played.position == 0] == 1).all()
    assert (played.time == np.round(played.time, 2)).all()
    assert played.time.min() >= 0
    assert played.time.max() <= 1


@settings(max_examples=40)
@given(worlds())
def test_a_session_ends_with_its_last_disappointment(dynamics: Dynamics) -> None:
    played = play(dynamics, 60)
    keys = dynamics.open_sessions(5, played.episode).keys
    patience = draw_uniform(keys, played.position.astype(np.uint64), Purpose.PATIENCE)
    lost = (patience >= played.time) & (played.position > 0)
    budget = dynamics.listeners.budget[played.user[played.starts]]
    assert np.add.reduceat(lost, played.starts, dtype=np.int64).tolist() == budget.tolist()
    assert lost[np.append(played.starts[1:], len(played)) - 1].all()  # it is the last playback


@pytest.mark.parametrize(
    ("score", "bias", "sharpness", "n_same", "time"),
    [
        (5.0, 5.0, 1.0, 0, 0.5),
        (5.0, 5.0, 1.0, 1, 0.4),
        (5.0, 5.0, 1.0, 2, 0.32),
        (5.0, 5.0, 1.0, 3, 0.26),  # 0.256
        (6.0, 5.0, 1.0, 0, 0.73),  # 0.7311
        (6.0, 5.0, 2.0, 0, 0.88),  # 0.8808
        (6.0, 5.0, 0.5, 0, 0.62),  # 0.6225
        (4.0, 5.0, 1.0, 0, 0.27),  # 0.2689
        (0.0, 5.0, 1.0, 0, 0.01),  # 0.0067
        (0.0, 10.0, 2.0, 0, 0.0),
        (30.0, 5.0, 1.0, 0, 1.0),
        (30.0, 5.0, 1.0, 10, 0.11),  # 0.8 ** 10 = 0.1074
    ],
)
def test_known_answers(
    score: float, bias: float, sharpness: float, n_same: int, time: float
) -> None:
    listened = listened_time(score, bias=bias, sharpness=sharpness, gamma=0.8, n_same_artist=n_same)
    assert float(listened) == time


def test_a_half_of_a_hundredth_is_rounded_to_the_even_one_as_numpy_does() -> None:
    # sigmoid(0) * gamma: 0.125 and 0.375 are exact in binary.
    for gamma, time in ((0.25, 0.12), (0.75, 0.38)):
        listened = listened_time(5.0, bias=5.0, sharpness=1.0, gamma=gamma, n_same_artist=1)
        assert float(listened) == time


@given(st.floats(-40, 60), st.floats(-10, 10), st.floats(0.05, 4), st.floats(0, 1))
def test_more_of_an_artist_is_never_listened_to_longer(
    score: float, bias: float, sharpness: float, gamma: float
) -> None:
    times = listened_time(
        np.full(12, score), bias=bias, sharpness=sharpness, gamma=gamma, n_same_artist=np.arange(12)
    )
    assert (np.diff(times) <= 0).all()


@given(st.lists(st.floats(-40, 60), min_size=2, max_size=20), st.floats(-10, 10))
def test_what_is_liked_more_is_listened_to_no_shorter(scores: list[float], bias: float) -> None:
    ordered = np.sort(scores)
    times = listened_time(ordered, bias=bias, sharpness=1.3, gamma=0.8, n_same_artist=1)
    assert (np.diff(times) >= 0).all()
