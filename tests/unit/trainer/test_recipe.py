"""A planted structure is learnt, the same each time, and nothing unseen is recommended."""

import numpy as np
import pytest

from services.trainer.core.parameters import RecipeName, TrainingParameters, report_nothing
from services.trainer.core.playbacks import PlaybackLog, make_log
from services.trainer.core.presets import PresetName, make_parameters
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.training import MIN_IMPROVEMENT, PATIENCE, choose_batch_size
from shared.catalog import Catalog
from tests.unit.trainer.logs import block_of, make_block_playbacks, make_blocks

CATALOG = make_blocks()


def fit(
    log: PlaybackLog, *, recipe: RecipeName = "artist_concat", catalog: Catalog = CATALOG, seed=0
) -> Fitted:
    parameters = TrainingParameters(recipe=recipe, dim=8, neighbours=8, seed=seed)
    return fit_recipe(log, catalog, parameters=parameters, report=report_nothing)


@pytest.mark.parametrize("recipe", ["artist_concat", "track_only"])
def test_neighbours_are_of_the_block_that_was_listened_to(recipe: RecipeName) -> None:
    log = make_log(make_block_playbacks(CATALOG, n_sessions=1500))
    fitted = fit(log, recipe=recipe)
    neighbours = fitted.arrays["neighbours"]
    own = block_of(np.arange(len(CATALOG)))[:, None]
    assert (block_of(neighbours) == own).mean() > 0.97
    assert fitted.metrics["held_out_mse"] < 0.2 * fitted.metrics["baseline_mse"]
    assert fitted.metrics["held_out_log_loss"] < 0.6 * fitted.metrics["baseline_log_loss"]
    assert fitted.metrics["ndcg_at_10"] > 2 * fitted.metrics["baseline_ndcg_at_10"]
    assert fitted.metrics["calibration_error"] < 0.05


def test_arrays_are_the_full_concatenations_and_their_best_products() -> None:
    arrays = fit(make_log(make_block_playbacks(CATALOG))).arrays
    assert arrays["context_embedding"].shape == (len(CATALOG), 16)
    scores = arrays["context_embedding"] @ arrays["track_embedding"].T
    np.fill_diagonal(scores, -np.inf)
    best = np.take_along_axis(scores, arrays["neighbours"].astype(np.int64), axis=1)
    expected = -np.sort(-scores, axis=1)[:, : best.shape[1]]
    assert np.allclose(best, expected, atol=1e-6)


def test_what_is_held_out_is_never_learnt() -> None:
    playbacks = make_block_playbacks(CATALOG, n_sessions=200)
    first = fit(make_log(playbacks))
    last_tenth = playbacks["at"] >= np.sort(np.unique(playbacks["at"]))[-20 * 6]
    last_half = playbacks["at"] >= np.sort(np.unique(playbacks["at"]))[-10 * 6]
    changed = playbacks.copy()
    changed["time"][last_half & (changed["position"] > 0)] = 0.5
    second = fit(make_log(changed))
    for name in ("context_embedding", "track_embedding", "neighbours"):
        assert np.array_equal(first.arrays[name], second.arrays[name]), name
    assert first.metrics["held_out_mse"] != second.metrics["held_out_mse"]
    assert first.judgement is not None
    assert first.judgement.held_out.n_sessions == 10
    assert first.learnt_until is not None
    assert first.learnt_until.timestamp() * 1e6 == playbacks["at"][last_tenth].min()
    assert first.judged_from is not None
    assert first.judged_from.timestamp() * 1e6 == playbacks["at"][last_half].min()


def test_training_stops_early_and_keeps_the_best_epoch() -> None:
    rng, playbacks = np.random.default_rng(0), make_block_playbacks(CATALOG, n_sessions=120)
    playbacks["time"] = rng.random(len(playbacks)).round(2)  # nothing to learn: it overfits
    losses: list[dict[str, object]] = []

    def report(_: str, **fields: object) -> None:
        if "epoch" in fields:
            losses.append(fields)

    parameters = TrainingParameters(dim=8, neighbours=3, epochs=200, learning_rate=0.01)
    fitted = fit_recipe(make_log(playbacks), CATALOG, parameters=parameters, report=report)
    validation = [float(str(loss["validation"])) for loss in losses]
    best = int(fitted.metrics["best_epoch"])
    assert len(validation) == best + PATIENCE < 200
    assert validation[best - 1] == fitted.metrics["validation_mse"]
    assert min(validation) > validation[best - 1] - MIN_IMPROVEMENT
    assert fitted.metrics["epochs"] == len(losses)


def test_events_twice_and_out_of_order_change_nothing() -> None:
    playbacks = make_block_playbacks(CATALOG)
    untidy = np.random.default_rng(0).permutation(np.append(playbacks, playbacks[::3]))
    first, second = fit(make_log(playbacks)), fit(make_log(untidy))
    assert all(a.tobytes() == second.arrays[name].tobytes() for name, a in first.arrays.items())
    assert first.metrics == second.metrics


def test_same_seed_gives_the_same_bits_and_another_seed_others() -> None:
    log = make_log(make_block_playbacks(CATALOG))
    first, again, other = fit(log), fit(log), fit(log, seed=1)
    for name, array in first.arrays.items():
        assert array.tobytes() == again.arrays[name].tobytes()
    assert first.metrics == again.metrics
    embedding = first.arrays["track_embedding"]
    assert not np.array_equal(embedding, other.arrays["track_embedding"])


@pytest.mark.parametrize("recipe", ["artist_concat", "track_only"])
def test_unseen_tracks_are_zero_and_never_recommended(recipe: RecipeName) -> None:
    playbacks = make_block_playbacks(CATALOG)
    unseen_row, unplayed_artist = 3, 4  # a track; and all tracks of an artist
    artist_rows = np.flatnonzero(CATALOG.artist_rows == unplayed_artist)
    hidden = np.append(artist_rows, unseen_row)
    playbacks = playbacks[~np.isin(playbacks["track"], CATALOG.track_ids[hidden])]
    arrays = fit(make_log(playbacks), recipe=recipe).arrays
    neighbours, context = arrays["neighbours"], arrays["context_embedding"]
    assert not np.isin(neighbours, hidden).any()
    assert (context[artist_rows] == 0).all()
    assert (context[unseen_row, :8] == 0).all()
    assert (neighbours[artist_rows] == -1).all()
    # Its artist is known: the artist half alone finds its block, if there is one.
    if recipe == "artist_concat":
        assert (block_of(neighbours[unseen_row]) == block_of(unseen_row)).mean() > 0.7
    else:
        assert (neighbours[unseen_row] == -1).all()


def test_top_tracks_are_those_listened_to_longest() -> None:
    log = make_log(make_block_playbacks(CATALOG))
    top = fit(log).arrays["top_tracks"]
    total = np.bincount(CATALOG.rows_of(log.tracks), log.times, minlength=len(CATALOG))
    assert np.array_equal(top, np.argsort(-total, kind="stable"))


def test_progress_tells_the_stages_in_order_and_every_epoch() -> None:
    seen: list[str] = []
    epochs: list[int] = []

    def report(stage: str, **fields: object) -> None:
        seen.append(stage)
        if "epoch" in fields:
            epochs.append(int(str(fields["epoch"])))

    parameters = TrainingParameters(dim=4, epochs=2, neighbours=3)
    log = make_log(make_block_playbacks(CATALOG, n_sessions=50))
    fit_recipe(log, CATALOG, parameters=parameters, report=report)
    stages = list(dict.fromkeys(seen))
    assert stages == ["pairing", "training", "neighbours", "evaluating"]
    assert epochs == [1, 2]


@pytest.mark.parametrize(
    ("n_pairs", "expected"), [(10, 64), (6400, 200), (600_000, 16384), (10_000_000, 16384)]
)
def test_batches_of_a_small_log_are_small(n_pairs: int, expected: int) -> None:
    assert choose_batch_size(n_pairs, largest=16384) == expected


def test_neighbours_by_the_track_half_are_those_of_the_tracks_own_embeddings() -> None:
    log = make_log(make_block_playbacks(CATALOG))
    parameters = make_parameters("published_artist_concat_track_half", dim=8, neighbours=5)
    arrays = fit_recipe(log, CATALOG, parameters=parameters, report=report_nothing).arrays
    assert arrays["context_embedding"].shape == (len(CATALOG), 16)
    scores = arrays["context_embedding"][:, :8] @ arrays["track_embedding"][:, :8].T
    np.fill_diagonal(scores, -np.inf)
    best = np.take_along_axis(scores, arrays["neighbours"].astype(np.int64), axis=1)
    assert np.allclose(best, -np.sort(-scores, axis=1)[:, :5], atol=1e-6)


@pytest.mark.parametrize("preset", ["enriched_uniform", "enriched_cluster"])
def test_enrichment_teaches_that_what_never_followed_is_not_listened_to(preset: PresetName) -> None:
    # Nobody ever played a track after one of another block: without negatives all is liked.
    playbacks = make_block_playbacks(CATALOG, n_sessions=600)
    first = np.repeat(playbacks["track"][::6], 6)
    same = block_of(CATALOG.rows_of(playbacks["track"])) == block_of(CATALOG.rows_of(first))
    log = make_log(playbacks[same])
    strangers = block_of(np.arange(len(CATALOG)))[:, None] != block_of(np.arange(len(CATALOG)))
    reported: list[object] = []

    def report(stage: str, **fields: object) -> None:
        if "negatives" in fields:
            reported.append(fields["negatives"])

    expected = []
    for negatives in (0, 20):
        parameters = make_parameters(
            preset, dim=8, epochs=30, neighbours=5, negatives=negatives, clusters=4,
            learning_rate=0.01,
        )  # fmt: skip
        arrays = fit_recipe(log, CATALOG, parameters=parameters, report=report).arrays
        scores = arrays["context_embedding"] @ arrays["track_embedding"].T
        expected.append(float(scores[strangers].mean()))
    assert expected[1] < 0.5 * expected[0]
    assert reported == [20 * len(CATALOG)]


def test_negatives_are_of_the_training_alone_and_make_no_candidate() -> None:
    playbacks = make_block_playbacks(CATALOG)
    hidden = 3  # nobody plays it, but negatives say something of it
    log = make_log(playbacks[playbacks["track"] != CATALOG.track_ids[hidden]])
    fitted = []
    for negatives in (0, 20):
        parameters = TrainingParameters(dim=8, neighbours=8, negatives=negatives)
        fitted.append(fit_recipe(log, CATALOG, parameters=parameters, report=report_nothing))
    plain, enriched = fitted
    for name in ("n_pairs", "n_held_out_plays", "baseline_mse", "baseline_ndcg_at_10"):
        assert plain.metrics[name] == enriched.metrics[name], name
    assert (enriched.arrays["track_embedding"][hidden, :8] == 0).all()
    warm = enriched.arrays
    parameters = TrainingParameters(dim=8, neighbours=8, epochs=1)
    later = fit_recipe(log, CATALOG, parameters=parameters, report=report_nothing, warm=warm)
    for arrays in (enriched.arrays, later.arrays):
        assert not np.isin(arrays["neighbours"], hidden).any()
    assert not np.array_equal(plain.arrays["track_embedding"], enriched.arrays["track_embedding"])
