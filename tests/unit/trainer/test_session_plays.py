"""The log's playbacks become logits, and what says nothing of taste is dropped or refused."""

import numpy as np
import pytest

from services.trainer.core.errors import TrainingError
from services.trainer.core.held_out import count_earlier
from services.trainer.core.playbacks import make_log
from services.trainer.core.session.discount import estimate_gamma
from services.trainer.core.session.groups import make_blocks as make_padded_blocks
from services.trainer.core.session.interests import MAX_INTERESTS, group_sessions
from services.trainer.core.session.plays import observe, prepare_plays
from tests.unit.trainer.logs import make_block_playbacks, make_blocks, make_playbacks
from tests.unit.trainer.session_world import plant, true_logits

CATALOG = make_blocks()


@pytest.mark.parametrize("gamma", [0.8, 0.6, 1.0])
def test_gamma_is_recovered_from_the_log(gamma: float) -> None:
    planted = plant(gamma)
    assert prepare_plays(planted.log, planted.catalog).gamma == pytest.approx(gamma, abs=0.02)


def test_a_log_that_repeats_no_artist_has_no_discount() -> None:
    assert estimate_gamma(np.full(100, 0.5, np.float32), np.zeros(100, np.int64)) == 1.0


def test_a_few_odd_times_do_not_move_gamma() -> None:
    rng = np.random.default_rng(0)
    earlier = rng.integers(0, 4, 20_000)
    times = np.round(rng.beta(0.3, 0.3, 20_000) * 0.7**earlier, 2).astype(np.float32)
    times[:3] = 1.0
    assert estimate_gamma(times, earlier) == pytest.approx(0.7, abs=0.02)


def test_logits_are_the_listeners_to_the_rounding() -> None:
    planted = plant()
    plays = prepare_plays(planted.log, planted.catalog)
    truth = true_logits(planted, plays)
    known = plays.side == 0
    error = (plays.logit - truth)[known & (plays.rounding < 0.1)]
    assert np.abs(error).max() < 1.5
    assert np.abs(error).mean() < 0.15
    slack = 0.05  # of gamma
    assert (plays.side * (truth - plays.logit))[~known].min() > -slack


def test_earlier_playbacks_of_a_kind_are_counted_within_the_session() -> None:
    session = np.array([0, 0, 0, 0, 1, 1])
    kind = np.array([5, 6, 5, 5, 5, 5])
    assert count_earlier(session, kind).tolist() == [0, 0, 1, 2, 0, 1]


def test_times_at_the_ends_are_bounds() -> None:
    logit, rounding, side = observe(np.array([0.0, 0.4, 0.8]), np.full(3, 0.8))
    assert side.tolist() == [-1, 0, 1]
    assert logit == pytest.approx([np.log(0.005 / 0.795), 0.0, np.log(0.795 / 0.005)])
    assert rounding[1] == pytest.approx((0.005 / 0.8 / 0.25) ** 2 / 3)


def test_first_tracks_repeats_and_headless_sessions_are_dropped() -> None:
    a, b, c = CATALOG.track_ids[[0, 1, 13]].tolist()
    log = make_log(
        make_playbacks(
            [
                (1, 0, -7, a, 1.0, 10),
                (1, 1, -7, b, 0.5, 11),
                (1, 2, -7, b, 0.0, 12),
                (1, 3, -7, 3, 0.4, 13),  # in no catalogue
                (2, 4, 900, c, 0.5, 20),  # its beginning was cut off
                (3, 0, 900, c, 1.0, 30),
                (3, 1, 900, a, 0.3, 31),
            ]
        )
    )
    plays = prepare_plays(log, CATALOG)
    assert plays.track.tolist() == [1, 0]
    assert plays.session.tolist() == [0, 1]
    assert plays.first.tolist() == [0, 13]
    assert plays.user_ids[plays.user].tolist() == [-7, 900]
    assert plays.logit == pytest.approx([0.0, np.log(0.3 / 0.7)], abs=1e-6)


def test_what_cannot_be_learnt_from_is_refused_with_a_reason() -> None:
    playbacks = make_block_playbacks(CATALOG, n_sessions=20)
    alone, full, foreign, heads = (playbacks.copy() for _ in range(4))
    alone["user"] = 5
    full["time"] = 1.0
    foreign["track"] = 1
    for log, reason in (
        (alone, "one user only"),
        (full, "heard in full or not at all"),
        (foreign, "another catalogue"),
        (heads[heads["position"] > 0], "no session has a known first track"),
        (heads[heads["position"] == 0], "another after it"),
    ):
        with pytest.raises(TrainingError, match=reason):
            prepare_plays(make_log(log), CATALOG)
    with pytest.raises(TrainingError, match="no playbacks"):
        make_log(playbacks[:0])


def test_padded_blocks_hold_every_playback_once_and_with_its_group() -> None:
    group = np.random.default_rng(0).geometric(0.05, 500) - 1
    blocks = make_padded_blocks(group, int(group.max()) + 3)
    assert sorted(np.concatenate([block.flat for block in blocks]).tolist()) == list(range(500))
    for block in blocks:
        held = group[block.rows.numpy()]
        assert ((held == block.ids.numpy()[:, None]) | (block.mask.numpy() == 0)).all()
        assert np.array_equal(block.rows.flatten()[block.filled], block.flat)


def test_sessions_are_grouped_within_a_user_by_direction() -> None:
    rng = np.random.default_rng(2)
    centre = 5 * rng.standard_normal((4, 2, 8))  # two interests each of four users
    user, which = np.repeat(np.arange(4), 30), rng.integers(0, 2, 120)
    first = (centre[user, which] + 0.3 * rng.standard_normal((120, 8))).astype(np.float32)
    group = group_sessions(user, first)
    assert len(np.unique(group)) == group.max() + 1 <= 4 * MAX_INTERESTS
    for one in np.unique(group):
        assert len(np.unique(user[group == one])) == 1
        assert len(np.unique(which[group == one])) == 1
