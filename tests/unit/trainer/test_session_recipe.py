"""Beliefs find a planted world's structure from its log alone, the same each time."""

import copy
import functools

import numpy as np
import pytest
import torch

from services.trainer.core.errors import TrainingError
from services.trainer.core.held_out import collect_plays
from services.trainer.core.parameters import TrainingParameters, report_nothing
from services.trainer.core.playbacks import make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.session.beliefs import MAX_VARIANCE, Beliefs
from services.trainer.core.session.export import SELECTED, export_arrays, measure_excess
from services.trainer.core.session.fitting import ABSORB, COLD, fit_beliefs
from services.trainer.core.session.plays import Plays, prepare_plays
from shared.model_arrays import ARRAYS
from tests.unit.trainer.logs import make_block_playbacks, make_blocks
from tests.unit.trainer.session_world import plant, select, true_logits

DIM = 16


def split() -> tuple[Plays, Plays]:
    """Hold a tenth of the plays out."""
    planted = plant()
    plays = prepare_plays(planted.log, planted.catalog)
    is_held_out = np.random.default_rng(0).random(len(plays)) < 0.1
    return select(plays, ~is_held_out), select(plays, is_held_out)


@functools.cache
def fit() -> Beliefs:
    train, _ = split()
    rows = plant().catalog.artist_rows
    return fit_beliefs(train, rows, dim=DIM, seed=0, report=report_nothing)


@functools.cache
def fit_all(seed: int = 0) -> Fitted:
    planted = plant()
    parameters = TrainingParameters(recipe="session", dim=8, neighbours=10, seed=seed)
    return fit_recipe(planted.log, planted.catalog, parameters=parameters, report=report_nothing)


def test_held_out_plays_are_predicted() -> None:
    beliefs, (_, held_out) = fit(), split()
    interest = beliefs.interest[beliefs.interest_of_session[held_out.session]]
    product = (beliefs.track[held_out.track] * interest).sum(1)
    predicted = beliefs.slope[held_out.user] * product - beliefs.offset[held_out.user]
    truth = true_logits(plant(), held_out)
    assert np.corrcoef(predicted, truth)[0, 1] > 0.8
    # Not by knowing how much a listener listens alone.
    offset_only = np.corrcoef(-beliefs.offset[held_out.user], truth)[0, 1]
    assert np.corrcoef(predicted, truth)[0, 1] > offset_only + 0.1


def test_embeddings_order_the_catalogue_as_the_truth_does() -> None:
    beliefs, embeddings = fit(), plant().world.embeddings
    anchors = np.unique(plant().interest)[:200]
    truth = embeddings[anchors] @ embeddings.T
    track = beliefs.track.numpy()
    learnt = track[anchors] @ track.T
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in zip(truth, learnt, strict=True)]) > 0.5


def test_a_track_nobody_played_is_its_artist() -> None:
    planted = plant()
    catalog, hidden = planted.catalog, 5
    kept = planted.playbacks[planted.playbacks["track"] != catalog.track_ids[hidden]]
    plays = prepare_plays(make_log(kept), catalog)
    beliefs = fit_beliefs(plays, catalog.artist_rows, dim=8, seed=0, report=report_nothing)
    artist = int(catalog.artist_rows[hidden])
    assert torch.allclose(beliefs.track[hidden], beliefs.artist_mean[artist], atol=1e-5)
    assert beliefs.track_variance[hidden] > beliefs.track_variance.median()


def test_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    first, other = fit_all(), fit_all(1)
    fit_all.cache_clear()
    again = fit_all()
    for name, array in first.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes(), name
    assert first.metrics == again.metrics
    assert not np.array_equal(first.arrays["track_embedding"], other.arrays["track_embedding"])


def test_arrays_are_those_of_the_table() -> None:
    fitted, n_tracks = fit_all(), len(plant().catalog)
    arrays = fitted.arrays
    for name, array in arrays.items():
        assert (array.dtype, array.ndim) == ARRAYS[name], name
        assert np.isfinite(array).all(), name
    n_users, n_interests = len(arrays["user_ids"]), len(arrays["interest_users"])
    assert {name: array.shape for name, array in arrays.items()} == {
        "track_embedding": (n_tracks, 8),
        "context_embedding": (n_tracks, 8),
        "track_variance": (n_tracks,),
        "interest_prior": (2, 8),
        "session_covariance": (8, 8),
        "session_constants": (2,),
        "user_ids": (n_users,),
        "user_listener": (n_users + 1, 5),
        "interest_users": (n_interests,),
        "interest_embedding": (n_interests, 8),
        "interest_variance": (n_interests, 8),
        "neighbours": (n_tracks, 10),
        "top_tracks": arrays["top_tracks"].shape,
    }
    assert (np.diff(arrays["user_ids"]) > 0).all()
    assert np.bincount(arrays["interest_users"], minlength=n_users).max() <= 3
    assert (arrays["track_variance"] > 0).all()
    assert (arrays["interest_variance"] > 0).all()
    listener = arrays["user_listener"]
    assert (listener[:, 2] * listener[:, 4] > listener[:, 3] ** 2).all()
    assert fitted.metrics["leave_one_out_mse"] < 0.5 * fitted.metrics["leave_one_out_baseline_mse"]


def test_later_sessions_are_predicted_from_their_starts() -> None:
    fitted = fit_all()
    metrics, judgement = fitted.metrics, fitted.judgement
    assert judgement is not None
    n_sessions = collect_plays(plant().log, plant().catalog).n_sessions
    assert (
        judgement.held_out.n_sessions == round(0.1 * n_sessions) == metrics["n_held_out_sessions"]
    )
    assert metrics["held_out_mse"] < 0.9 * metrics["baseline_mse"]
    assert metrics["held_out_log_loss"] < 0.9 * metrics["baseline_log_loss"]
    assert metrics["ndcg_at_10"] > metrics["baseline_ndcg_at_10"]
    assert metrics["calibration_error"] < 0.08
    assert fitted.learnt_until is None  # they were taken in at last


def test_judged_sessions_are_judged_before_they_are_learnt() -> None:
    planted = plant()
    changed = planted.playbacks.copy()
    is_late = changed["session_low"] >= np.quantile(changed["session_low"], 0.98)
    changed["time"][is_late & (changed["position"] > 0)] = 1.0
    parameters = TrainingParameters(recipe="session", dim=8, neighbours=10)
    other = fit_recipe(
        make_log(changed), planted.catalog, parameters=parameters, report=report_nothing
    )
    first = fit_all().judgement
    assert first is not None
    assert other.judgement is not None
    assert np.array_equal(first.predicted, other.judgement.predicted)
    assert (
        fit_all().arrays["track_embedding"].tobytes() != other.arrays["track_embedding"].tobytes()
    )


def test_tracks_are_as_uncertain_as_the_left_out_playbacks_say() -> None:
    beliefs = copy.copy(fit())
    excess = measure_excess(beliefs)
    assert excess >= 1.0
    beliefs.from_interest, beliefs.from_track, beliefs.from_both = (
        part / (excess * 4)
        for part in (beliefs.from_interest, beliefs.from_track, beliefs.from_both)
    )
    _, _, variance = fit().predict()
    if float(variance.max()) < MAX_VARIANCE:
        assert measure_excess(beliefs) == pytest.approx(excess**2 * 4, rel=0.01)
    else:  # the largest are cut
        assert measure_excess(beliefs) > 3 * excess
    exported = export_arrays(fit())["track_variance"]
    assert exported == pytest.approx(fit().track_variance.numpy() * SELECTED * excess)


def test_a_user_with_one_interest_in_the_log_owns_it() -> None:
    arrays, beliefs = export_arrays(fit()), fit()
    user = beliefs.plays.session_user
    owner = arrays["interest_users"][beliefs.interest_of_session.numpy()]
    assert np.array_equal(owner, user)


def test_progress_tells_every_iteration_and_its_losses() -> None:
    catalog, seen = make_blocks(), []
    log = make_log(make_block_playbacks(catalog))
    parameters = TrainingParameters(recipe="session", dim=4)
    fit_recipe(log, catalog, parameters=parameters, report=lambda *a, **k: seen.append((a, k)))
    epochs = [fields for _, fields in seen if "epoch" in fields]
    n_iterations = COLD.n_iterations + ABSORB.n_iterations
    assert [fields["epoch"] for fields in epochs] == list(range(1, n_iterations + 1))
    assert all(np.isfinite(f["train"]) and np.isfinite(f["track_loss"]) for f in epochs)
    stages = list(dict.fromkeys(stage for (stage,), _ in seen))
    assert stages == ["pairing", "training", "evaluating", "neighbours"]


def test_a_log_that_teaches_nothing_is_refused() -> None:
    catalog = make_blocks()
    playbacks = make_block_playbacks(catalog, n_sessions=20)
    playbacks["time"] = 1.0
    with pytest.raises(TrainingError, match="in full"):
        fit_recipe(
            make_log(playbacks),
            catalog,
            parameters=TrainingParameters(recipe="session", dim=4),
            report=report_nothing,
        )
