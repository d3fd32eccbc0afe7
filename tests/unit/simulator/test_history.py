"""The history of day 0."""

import itertools
from collections import defaultdict
from datetime import UTC, date, datetime

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.events import Event, decode_event, encode_event, validate_event
from simulator.core import history
from simulator.core.policies import Contextual
from simulator.core.world import make_dynamics
from simulator.history import History, make_events, play_history
from simulator.rollout import play_batch
from tests.unit.simulator.worlds import make_small_world

WORLD = make_small_world()
DAY = date(2025, 3, 9)


def make_history(seed: int = 1, n_sessions: int = 800) -> list[Event]:
    played = play_history(make_dynamics(WORLD), seed=seed, n_sessions=n_sessions)
    return list(make_events(played, WORLD.catalog, DAY))


EVENTS = make_history()


def sessions_of(events: list[Event]) -> dict[object, list[Event]]:
    sessions: defaultdict[object, list[Event]] = defaultdict(list)
    for event in events:
        sessions[event.session].append(event)
    return sessions


def test_every_event_is_valid_and_survives_the_wire() -> None:
    for event in EVENTS:
        validate_event(event)
        assert decode_event(encode_event(event)) == event


def test_the_same_arguments_make_the_same_events() -> None:
    assert make_history() == EVENTS


def test_ids_are_unique_and_differ_between_seeds() -> None:
    ids = {event.event_id for event in EVENTS}
    assert len(ids) == len(EVENTS)
    assert not ids & {event.event_id for event in make_history(seed=2)}


def test_sessions_are_whole() -> None:
    sessions = sessions_of(EVENTS)
    assert len(sessions) == 800
    for events in sessions.values():
        assert [event.position for event in events] == list(range(len(events)))
        assert {event.message for event in events[:-1]} == {"next"}
        assert events[-1].message == "last"
        assert events[0].time == 1.0
        assert [e.recommendation for e in events[:-1]] == [e.track for e in events[1:]]
        assert len({event.user for event in events}) == 1
        assert all(e.recommender and e.propensity for e in events[:-1])
        assert all(event.experiments == {} for event in events)


def test_sessions_are_in_order_and_fill_the_day() -> None:
    starts = [events[0].timestamp for events in sessions_of(EVENTS).values()]
    assert starts[0] < datetime(2025, 3, 9, 1, tzinfo=UTC)
    assert datetime(2025, 3, 9, 22, tzinfo=UTC) < starts[-1]
    assert max(event.timestamp for event in EVENTS) < datetime(2025, 3, 10, tzinfo=UTC)
    pushed = sum(later < earlier for earlier, later in itertools.pairwise(starts))
    assert pushed < 5


def test_a_fallback_is_said() -> None:
    dynamics = make_dynamics(WORLD)
    no_neighbours = np.full((dynamics.n_tracks, 1), -1, dtype=np.int32)
    policy = Contextual(no_neighbours, dynamics.n_tracks)
    part = play_batch(dynamics, policy, seed=1, episodes=np.arange(20))
    events = list(make_events(History(1, (part,)), WORLD.catalog, DAY))
    answered = [event for event in events if event.message == "next"]
    assert {event.recommender for event in answered} == {"random"}
    assert {event.fallback for event in answered} == {"contextual:no_candidates"}


def test_policies_have_their_shares() -> None:
    policy = history.assign_policies(3, np.arange(97_000))
    counts = np.bincount(policy)
    assert abs(counts - [42_000, 20_000, 15_000, 20_000]).max() < 600


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(1, 5_000)), min_size=1, max_size=60),
    st.integers(0, 1_000),
)
def test_a_user_is_in_one_session_at_a_time(sessions: list[tuple[int, int]], seed: int) -> None:
    users = [user for user, _ in sessions]
    lengths = [length for _, length in sessions]
    starts = list(
        history.schedule_sessions(seed, np.arange(len(users)), users=users, lengths=lengths)
    )
    free_at: dict[int, int] = {}
    for start, user, length in zip(starts, users, lengths, strict=True):
        assert start >= free_at.get(user, 0)
        free_at[user] = start + length * history.PLAYBACK_MS


def test_neighbours_are_of_every_track_and_the_same_for_a_seed() -> None:
    position = np.array([0, 1, 2, 0, 1, 2, 0, 1], dtype=np.int32)
    track = np.array([4, 1, 2, 4, 2, 3, 0, 4], dtype=np.int32)
    time = np.array([1.0, 0.9, 0.5, 1.0, 0.6, 0.0, 1.0, 0.7])
    pairs = [history.make_pairs(position, track, time)]
    table = history.find_neighbours(pairs, n_tracks=5, seed=1)
    assert table.shape == (5, 5)
    assert (np.sort(table, axis=1) == np.arange(5)).all()
    assert np.array_equal(table, history.find_neighbours(pairs, n_tracks=5, seed=1))
    assert not np.array_equal(table, history.find_neighbours(pairs, n_tracks=5, seed=2))


def test_the_recommenders_of_a_history_forget_what_they_played() -> None:
    tracks: dict[str, list[int]] = defaultdict(list)
    for events in sessions_of(EVENTS).values():
        name = next((e.recommender for e in events if e.recommender), None)
        played = [event.track for event in events]
        tracks[str(name)].append(len(played) - len(set(played)))
    assert sum(tracks["sticky_artist"]) > 0
    assert sum(tracks["random"]) == 0


def test_top_tracks_are_those_listened_to_longest() -> None:
    top = history.find_top_tracks(
        np.array([3, 1, 3, 2], dtype=np.int32), np.array([0.5, 0.9, 0.5, 0.1]), n_tracks=4
    )
    assert top[:3].tolist() == [3, 1, 2]
