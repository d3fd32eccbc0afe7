"""A training that starts from an earlier version's arrays goes on from what they know."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.core.errors import TrainingError
from services.trainer.core.parameters import RecipeName, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog, make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from services.trainer.core.session.beliefs import Beliefs, Prior
from services.trainer.core.session.fitting import COLD, WARM
from services.trainer.core.session.plays import prepare_plays
from services.trainer.core.session.start import continue_from
from services.trainer.core.warm_start import arrays_to_continue, why_not_continued
from tests.unit.trainer.logs import block_of, make_block_playbacks, make_blocks
from tests.unit.trainer.session_world import plant

Arrays = dict[str, npt.NDArray[Any]]

CATALOG = make_blocks()
LOG = make_log(make_block_playbacks(CATALOG))


def fit(
    recipe: RecipeName, warm: Arrays | None = None, **more: Any
) -> tuple[Fitted, list[dict[str, Any]]]:
    """Fit the blocks; return the epochs too."""
    epochs: list[dict[str, Any]] = []

    def report(_: str, **fields: Any) -> None:
        if "epoch" in fields:
            epochs.append(fields)

    parameters = TrainingParameters(recipe=recipe, **{"dim": 8, "neighbours": 8} | more)
    return fit_recipe(LOG, CATALOG, parameters=parameters, report=report, warm=warm), epochs


@pytest.mark.parametrize("recipe", ["artist_concat", "track_only"])
def test_a_pair_training_starts_where_the_earlier_ended(recipe: RecipeName) -> None:
    cold, cold_epochs = fit(recipe)
    _, warm_epochs = fit(recipe, cold.arrays, epochs=1)
    assert warm_epochs[0]["train"] < 0.5 * cold_epochs[0]["train"]


@pytest.mark.parametrize("recipe", ["artist_concat", "track_only"])
def test_embeddings_that_no_epoch_betters_stand(recipe: RecipeName) -> None:
    cold, _ = fit(recipe)
    warm, _ = fit(recipe, cold.arrays, epochs=1, learning_rate=1.0)  # far too fast
    for name in ("context_embedding", "track_embedding", "neighbours"):
        assert np.array_equal(warm.arrays[name], cold.arrays[name]), name


def test_what_the_earlier_version_does_not_know_is_learnt() -> None:
    cold, _ = fit("artist_concat")
    forgetful = {name: array.copy() for name, array in cold.arrays.items()}
    first_block = block_of(np.arange(len(CATALOG))) == 0
    for name in ("context_embedding", "track_embedding"):
        forgetful[name][first_block] = 0
    warm, _ = fit("artist_concat", forgetful)
    neighbours = warm.arrays["neighbours"][first_block]
    assert (block_of(neighbours) == 0).mean() > 0.9


def test_a_session_training_starts_from_the_earlier_vectors() -> None:
    planted = plant()
    number = planted.playbacks["session_low"]
    yesterday, today = (
        make_log(planted.playbacks[chosen]) for chosen in (number < 5000, number >= 5000)
    )
    parameters = TrainingParameters(recipe="session", dim=8, neighbours=10, held_out=0)
    told: list[dict[str, Any]] = []

    def fit_planted(log: PlaybackLog, warm: Arrays | None = None) -> Arrays:
        told.clear()

        def report(_: str, **fields: Any) -> None:
            told.append(fields)

        fitted = fit_recipe(log, planted.catalog, parameters=parameters, report=report, warm=warm)
        # What is not named here, the trainer does not fetch.
        return {name: fitted.arrays[name] for name in arrays_to_continue("session")}

    def knows_the_truth(arrays: Arrays) -> float:
        truth, learnt = planted.world.embeddings[:300], arrays["track_embedding"][:300]
        return float(np.corrcoef((truth @ truth.T).ravel(), (learnt @ learnt.T).ravel())[0, 1])

    cold = fit_planted(today)
    assert sum("epoch" in fields for fields in told) == COLD.n_iterations
    known = fit_planted(yesterday)
    few = {**known, "user_ids": known["user_ids"][::2]}  # the other half is new today
    few["user_listener"] = np.vstack([known["user_listener"][:-1:2], known["user_listener"][-1:]])
    warm = fit_planted(today, few)
    assert sum("epoch" in fields for fields in told) == WARM.n_iterations
    assert not any("start_epoch" in fields for fields in told)
    assert len(warm["user_ids"]) > len(few["user_ids"])
    assert knows_the_truth(warm) > knows_the_truth(cold) + 0.03
    again = fit_planted(today, few)
    assert all(array.tobytes() == again[name].tobytes() for name, array in warm.items())


def test_a_session_training_starts_from_the_interests_centre_not_the_tracks() -> None:
    planted = plant()
    plays = prepare_plays(planted.log, planted.catalog)
    n_tracks, n_users, dim = len(planted.catalog), plays.n_users, 4
    arrays = {
        "track_embedding": np.full((n_tracks, dim), 2, np.float32),
        "interest_prior": np.full((2, dim), 1, np.float32),
        "user_ids": plays.user_ids,
        "user_listener": np.ones((n_users + 1, 5), np.float32),
    }
    beliefs = Beliefs(plays, planted.catalog.artist_rows, continue_from(arrays, plays), Prior())
    assert beliefs.interest_centre.tolist() == [1] * dim
    expected = beliefs.first_centre + Prior().follow * beliefs.interest_centre
    assert expected.tolist() == pytest.approx([2] * dim)  # what first tracks are


@pytest.mark.parametrize("recipe", ["artist_concat", "session"])
def test_arrays_of_another_shape_are_refused(recipe: RecipeName) -> None:
    cold, _ = fit(recipe)
    with pytest.raises(TrainingError, match="shape"):
        fit(recipe, cold.arrays, dim=4)
    with pytest.raises(TrainingError, match="without"):
        fit(recipe, {"neighbours": cold.arrays["neighbours"]})


def test_a_version_of_another_kind_is_not_continued_and_it_is_said_why() -> None:
    parameters = TrainingParameters(recipe="session", dim=32)

    def why(recipe: str = "session", dim: int = 32, is_same_catalog: bool = True) -> str | None:
        return why_not_continued(
            parameters, recipe=recipe, dim=dim, is_same_catalog=is_same_catalog
        )

    assert why() is None
    assert why(recipe="imported") == "is of the recipe imported"
    assert why(dim=16) == "has the dim 16"
    assert why(is_same_catalog=False) == "is of another catalogue"
