"""The session recommender: what it chooses, and what it remembers."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.recommender.adapters.stored_state import decode_state, encode_state
from services.recommender.core.decisions import Clock, Decider, Outcome
from services.recommender.core.draws import Draw
from services.recommender.core.models import (
    Models,
    ServedModel,
    UnusableModelError,
    make_served_model,
)
from services.recommender.core.policies import make_policy
from services.recommender.core.session_memory import (
    Memory,
    make_tag,
    pack_memory,
    unpack_memory,
)
from services.recommender.core.session_recommender import SessionTaste, pick
from services.recommender.core.session_start import start
from services.recommender.core.session_taste import Taste
from services.recommender.core.sessions import (
    Report,
    Session,
    UserState,
    append_playback,
    read_history,
)
from shared.definitions import parse_experiments
from shared.experiments import Treatment
from tests.unit.recommender.factories import (
    FIRST_ID,
    N_TRACKS,
    make_arrays,
    make_context,
    make_index,
    make_served,
)

INDEX = make_index()
MODEL = make_served(INDEX)
OTHER = msgspec.structs.replace(
    MODEL,
    version="m2",
    taste=msgspec.structs.replace(MODEL.taste, tracks=-MODEL.taste.tracks) if MODEL.taste else None,
)
TAG = make_tag("m1", 1)
NOW = datetime(2024, 5, 1, tzinfo=UTC)


def make_decider(recommender: str = "session", **parameters: Any) -> Decider:
    """Serve everybody by one recommender."""
    arms = [
        {"name": name, "recommender": recommender, "parameters": parameters} for name in ("C", "T1")
    ]
    definition = {"serving": "S", "experiments": [{"name": "S", "treatments": arms}]}
    clock = Clock(now=lambda: NOW, seconds=lambda: 0.0)
    experiments = parse_experiments(msgspec.yaml.encode(definition))
    return Decider(INDEX, experiments, seed=0, clock=clock)


def time_of(track: int) -> float:
    return track * 37 % 101 / 100


def play(
    decider: Decider, models: list[ServedModel | None], state: UserState | None = None
) -> list[Outcome]:
    """Play a session, each request answered from the next of the models."""
    track, time, outcomes = FIRST_ID, 1.0, []
    for model in models:
        served = Models({} if model is None else {"latest": model})
        outcome = decider.decide(Report("next", 7, track, time), state, served)
        assert outcome.event
        state = outcome.state and decode_state(1, encode_state(outcome.state, outcome.event))
        track = msgspec.json.decode(outcome.answer)["track"]
        time = time_of(track)
        outcomes.append(outcome)
    return outcomes


def session_of(outcome: Outcome) -> Session:
    assert outcome.state
    assert outcome.state.session
    return outcome.state.session


def tracks_of(outcomes: list[Outcome]) -> list[int]:
    return [msgspec.json.decode(outcome.answer)["track"] for outcome in outcomes]


def test_greedy_is_the_analytic_best() -> None:
    assert MODEL.taste
    choice = SessionTaste(candidates=N_TRACKS).recommend(make_context(INDEX, model=MODEL))
    mean = start(MODEL.taste, user=7, first=0).mean
    values = 1 / (1 + np.exp(-MODEL.taste.tracks @ mean * MODEL.taste.narrowing))
    values[np.array(INDEX.artists) == INDEX.artists[0]] *= 0.8
    values[0] = 0
    assert (choice.row, choice.propensity) == (int(values.argmax()), 1.0)


def test_the_artist_is_discounted_by_its_earlier_tracks() -> None:
    assert MODEL.taste
    # All tracks are alike: only the discount can tell artists apart.
    tracks = np.tile(MODEL.taste.tracks[:1], (N_TRACKS, 1))
    taste = msgspec.structs.replace(
        MODEL.taste, tracks=tracks, narrowing=np.ones(N_TRACKS, np.float32)
    )
    model = msgspec.structs.replace(MODEL, taste=taste)
    played = np.array([0, 10, 1, 2, 3, 4, 5, 6, 7, 8], np.int32)  # all artists but 9; 0 twice
    context = make_context(
        INDEX, model=model, heard=played.tolist(), played=played, times=[0.5] * 10, explain=True
    )
    choice = SessionTaste().recommend(context)
    assert INDEX.artists[choice.row] == 9
    assert choice.explanation
    assert choice.explanation["discount"] == 1.0
    context = msgspec.structs.replace(context, heard={*range(N_TRACKS)} - {20})
    choice = SessionTaste().recommend(context)
    assert choice.explanation
    assert choice.row == 20
    assert choice.explanation["discount"] == pytest.approx(0.64)
    assert choice.explanation["candidates"] == 1


def test_playbacks_change_what_is_chosen() -> None:
    liked, disliked = (
        SessionTaste().recommend(
            make_context(
                INDEX,
                model=MODEL,
                heard=[5, 9],
                played=np.array([0, 5, 9], np.int32),
                times=[1.0, time, 1 - time],
            )
        )
        for time in (0.97, 0.02)
    )
    assert liked.row != disliked.row


@pytest.mark.parametrize("epsilon", [0.0, 0.3, 1.0])
def test_propensities_sum_to_one(epsilon: float) -> None:
    values, is_out = np.array([0.2, 1.0, 0.9, 0.5, 0.9]), np.array([0, 1, 0, 0, 0], np.bool_)
    seen = {}
    for seed in range(200):
        place, propensity = pick(values, is_out, epsilon=epsilon, draw=Draw(seed, 1, 2, 3))
        seen[place] = propensity
    assert sum(seen.values()) == pytest.approx(1.0)
    assert seen[2] == pytest.approx(1 - epsilon + epsilon / 4)
    assert 1 not in seen


@settings(max_examples=25)
@given(
    st.integers(1, N_TRACKS),
    st.integers(1, 12),
    st.floats(0, 1),
    st.floats(0, 2),
)
def test_no_track_is_played_twice_until_all_are(
    candidates: int, refresh_every: int, epsilon: float, bonus: float
) -> None:
    decider = make_decider(
        candidates=candidates, refresh_every=refresh_every, epsilon=epsilon, bonus=bonus
    )
    outcomes = play(decider, [MODEL] * (N_TRACKS - 1))
    assert len({FIRST_ID, *tracks_of(outcomes)}) == N_TRACKS
    assert all(outcome.event and outcome.event.fallback is None for outcome in outcomes)


def test_same_requests_get_the_same_answers() -> None:
    one, other = (play(make_decider(epsilon=0.5), [MODEL] * 30) for _ in range(2))
    assert tracks_of(one) == tracks_of(other)
    assert [session_of(o).memory for o in one] == [session_of(o).memory for o in other]


@pytest.mark.parametrize("n_before", [1, 4, 11, 20, 23])
@pytest.mark.parametrize("before", [OTHER, None], ids=["another version", "no version"])
def test_a_swapped_version_goes_on_as_if_it_had_always_been_there(
    n_before: int, before: ServedModel | None
) -> None:
    decider = make_decider(candidates=15, refresh_every=10)
    swapped = play(decider, [before] * n_before + [MODEL])
    # The same requests, all answered by the new version: the tracks come from the first run.
    state, track, time = None, FIRST_ID, 1.0
    for outcome in swapped:
        same = decider.decide(Report("next", 7, track, time), state, Models({"latest": MODEL}))
        state, track = same.state, tracks_of([outcome])[0]
        time = time_of(track)
        if state and state.session:  # heard: as in the first run
            heard = tuple(dict.fromkeys((*session_of(same).heard[:-1], track)))
            state = UserState(msgspec.structs.replace(state.session, heard=heard))
    assert session_of(same).memory == session_of(swapped[-1]).memory
    assert tracks_of([same]) == tracks_of(swapped[-1:])


def test_a_damaged_or_foreign_memory_is_replayed() -> None:
    decider, models = make_decider(), Models({"latest": MODEL})
    before = session_of(play(decider, [MODEL] * 12)[-1])
    track = before.heard[-1]
    report = Report("next", 7, track, time_of(track))
    good = decider.decide(report, UserState(before), models)
    for memory in (b"", b"\0" * 40, before.memory[:-1], before.memory + b"\0", b"x" * 9_999):
        state = UserState(msgspec.structs.replace(before, memory=memory))
        outcome = decider.decide(report, state, models)
        assert session_of(outcome).memory == session_of(good).memory
        assert tracks_of([outcome]) == tracks_of([good])


def test_repeats_and_lost_tracks_say_nothing() -> None:
    def memory_after(rows: list[int], times: list[float]) -> Memory:
        context = make_context(INDEX, model=MODEL, played=np.array(rows, np.int32), times=times)
        found = SessionTaste().recommend(context).memory
        tag = make_tag("m1", 7, 0, 2000, 10, 0.0)
        assert found
        memory = unpack_memory(found.pack(), tag)
        assert memory
        return memory

    plain = memory_after([0, 5], [1.0, 0.4])
    other = memory_after([0, 5, -1, 5, 0], [1.0, 0.4, 0.9, 0.0, 0.0])
    assert (plain.taste.mean == other.taste.mean).all()
    assert (plain.taste.covariance == other.taste.covariance).all()
    assert other.n_plays == 5


@given(
    st.integers(1, 20),
    st.integers(0, 50),
    st.integers(0, 2**31 - 1),
    st.sampled_from([1, 250, 50_000, 2**31 - 1]),
)
def test_memories_survive_the_round_trip(d: int, n: int, seed: int, n_tracks: int) -> None:
    rng = np.random.default_rng(seed)
    root = rng.normal(size=(d, d)).astype(np.float32)
    memory = Memory(
        Taste(rng.normal(size=d).astype(np.float32), root + root.T),
        seed,
        np.sort(rng.integers(0, n_tracks, n)).astype(np.int32),
    )
    packed = pack_memory(memory, TAG)
    back = unpack_memory(packed, TAG)
    assert back
    assert back.n_plays == seed
    assert (back.taste.mean == memory.taste.mean).all()
    assert (back.taste.covariance == memory.taste.covariance).all()
    assert (back.candidates == memory.candidates).all()
    assert unpack_memory(packed, make_tag("m2", 1)) is None
    width = 1 if n_tracks <= 250 else 4  # at most, per candidate
    assert len(packed) <= 23 + 4 * (d + d * (d + 1) // 2) + width * n
    assert unpack_memory(packed[:-1], TAG) is None


@given(st.lists(st.tuples(st.integers(0, 2**31 - 1), st.floats(0, 1))))
def test_histories_keep_ids_and_hundredths(plays: list[tuple[int, float]]) -> None:
    history = b""
    for track, time in plays:
        history = append_playback(history, track, time)
    ids, times = read_history(history)
    assert ids.tolist() == [track for track, _ in plays]
    assert times == [round(time * 100) / 100 for _, time in plays]
    assert len(history) == 5 * len(plays)


def test_states_of_an_older_release_are_read() -> None:
    old = msgspec.msgpack.encode([[b"\0" * 16, 100, 1, [100, 101]], None])
    state = decode_state(1, b"\0" * 16 + old)
    assert state
    assert state.session
    assert (state.session.history, state.session.memory) == (b"", b"")


def test_recommenders_that_do_not_remember_store_nothing_more() -> None:
    decider = make_decider("contextual")
    session = session_of(play(decider, [MODEL] * 5)[-1])
    assert (session.history, session.memory) == (b"", b"")


def test_the_chain_says_who_could_not_and_why() -> None:
    policy = make_policy(Treatment(name="T1", recommender="session"))
    chosen = policy.recommend(make_context(INDEX))
    assert chosen.fallback == "session:no_model,contextual:no_model,top_pop:no_model"
    assert chosen.recommender == "random"
    model = msgspec.structs.replace(MODEL, taste=None)
    chosen = policy.recommend(make_context(INDEX, model=model))
    assert (chosen.recommender, chosen.fallback) == ("contextual", "session:not_in_model")


def test_explanations_are_in_the_answer_and_not_in_the_event() -> None:
    decider, models = make_decider(), Models({"latest": MODEL})
    report = Report("next", 7, FIRST_ID, 1.0)
    plain = decider.decide(report, None, models)
    asked = decider.decide(report, None, models, explain=True)
    why = msgspec.json.decode(asked.answer)["explanation"]
    assert "explanation" not in msgspec.json.decode(plain.answer)
    assert why["anchor"] == FIRST_ID
    of_session = {"score", "discount", "uncertainty"}
    assert set(why) == {"anchor", "pool", "heard", "capped", "candidates"} | of_session
    assert 0 < why["score"] < 1
    assert why["candidates"] == N_TRACKS - 1
    assert tracks_of([plain]) == tracks_of([asked])
    assert asked.event
    assert not hasattr(asked.event, "explanation")


def test_a_broken_taste_is_refused() -> None:
    arrays = make_arrays() | {"track_variance": np.ones(3, np.float32)}
    with pytest.raises(UnusableModelError, match="track_variance has the shape") as caught:
        make_served_model("m1", checksum=INDEX.checksum, arrays=arrays, catalog=INDEX)
    assert caught.value.reason == "model_broken"
