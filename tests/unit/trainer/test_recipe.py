"""A planted structure is learnt, the same each time, and nothing unseen is recommended."""

import numpy as np
import pytest

from services.trainer.core.parameters import RecipeName, TrainingParameters, report_nothing
from services.trainer.core.playbacks import PlaybackLog, make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.training import choose_batch_size
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
    assert fitted.metrics["validation_mse"] < 0.2 * fitted.metrics["baseline_mse"]


def test_arrays_are_the_full_concatenations_and_their_best_products() -> None:
    arrays = fit(make_log(make_block_playbacks(CATALOG))).arrays
    assert arrays["context_embedding"].shape == (len(CATALOG), 16)
    scores = arrays["context_embedding"] @ arrays["track_embedding"].T
    np.fill_diagonal(scores, -np.inf)
    best = np.take_along_axis(scores, arrays["neighbours"].astype(np.int64), axis=1)
    expected = -np.sort(-scores, axis=1)[:, : best.shape[1]]
    assert np.allclose(best, expected, atol=1e-6)


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
    assert stages == ["pairing", "training", "evaluating", "neighbours"]
    assert epochs == [1, 2]


@pytest.mark.parametrize(
    ("n_pairs", "expected"), [(10, 64), (6400, 200), (600_000, 16384), (10_000_000, 16384)]
)
def test_batches_of_a_small_log_are_small(n_pairs: int, expected: int) -> None:
    assert choose_batch_size(n_pairs, largest=16384) == expected
