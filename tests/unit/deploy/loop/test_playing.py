"""Sessions through the recommender's decisions."""

import dataclasses

import numpy as np
import pytest

from deploy.loop.measures import find_treated
from deploy.loop.playing import EPISODES_AT_ONCE
from deploy.loop.plays import Plays
from services.recommender.core.models import Models
from simulator.core.draws import episode_keys
from tests.unit.deploy.loop.worlds import PLAN, make_stage

EPISODES = np.arange(EPISODES_AT_ONCE * 2 + 3)


def play(*, n_workers: int = 1, most_plays: int = 1_000) -> Plays:
    _, theatre = make_stage(n_workers=n_workers)
    theatre = dataclasses.replace(theatre, most_plays=most_plays)
    return theatre.play(PLAN.experiments(), Models(), EPISODES)


def test_what_is_played_does_not_depend_on_the_number_of_processes() -> None:
    one, three = play(n_workers=1), play(n_workers=3)
    for name in ("episodes", "users", "lengths", "tracks", "hundredths"):
        np.testing.assert_array_equal(getattr(one, name), getattr(three, name))
    assert one.n_fallbacks == three.n_fallbacks


def test_every_episode_is_played_by_its_user() -> None:
    _, theatre = make_stage()
    played = play()
    assert played.episodes.tolist() == EPISODES.tolist()
    rows, _ = theatre.dynamics.draw_interests(episode_keys(PLAN.seed, EPISODES))
    assert played.users.tolist() == theatre.dynamics.listeners.ids[rows].tolist()
    assert played.visits.lengths.sum() == len(played)


def test_a_session_is_cut_at_the_most_plays() -> None:
    whole, cut = play().lengths, play(most_plays=6).lengths
    assert whole.max() > 6
    assert cut.tolist() == np.minimum(whole, 6).tolist()


def test_fallbacks_are_counted() -> None:
    # Without a model, every recommendation of the treatment is one; the control's are none.
    played = play()
    is_treated = find_treated(played.users, PLAN.experiments())
    assert played.n_fallbacks == (played.lengths[is_treated] - 1).sum() > 0


def test_progress_adds_up() -> None:
    _, theatre = make_stage()
    told: list[int] = []
    theatre.play(PLAN.experiments(), Models(), EPISODES, advance=told.append)
    assert told == [EPISODES_AT_ONCE, EPISODES_AT_ONCE, 3]


def test_no_episode_is_an_error() -> None:
    _, theatre = make_stage()
    with pytest.raises(ValueError, match="concatenate"):
        theatre.play(PLAN.experiments(), Models(), EPISODES[:0])
