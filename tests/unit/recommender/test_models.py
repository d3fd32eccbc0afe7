from typing import Any

import numpy as np
import pytest

from services.recommender.core.models import Models, UnusableModelError, make_served_model
from tests.unit.recommender.factories import N_TRACKS, make_arrays, make_index, make_served

INDEX = make_index()


def serve(checksum: str = INDEX.checksum, **changes: Any) -> None:
    arrays = make_arrays() | changes
    make_served_model("m1", checksum=checksum, arrays=arrays, catalog=INDEX)


def test_a_model_of_another_catalogue_is_refused() -> None:
    with pytest.raises(UnusableModelError, match="another catalogue") as caught:
        serve(checksum=make_index(61).checksum)
    assert caught.value.reason == "model_mismatch"


@pytest.mark.parametrize("name", ["neighbours", "top_tracks", "user_tracks"])
@pytest.mark.parametrize("row", [-2, N_TRACKS])
def test_rows_outside_the_catalogue_are_refused(name: str, row: int) -> None:
    array = make_arrays()[name].copy()
    array.flat[0] = row
    with pytest.raises(UnusableModelError, match=f"{name} names rows outside") as caught:
        serve(**{name: array})
    assert caught.value.reason == "model_broken"


def test_neighbours_of_some_tracks_only_are_refused() -> None:
    with pytest.raises(UnusableModelError, match="neighbours lack tracks"):
        serve(neighbours=make_arrays()["neighbours"][1:])


def test_users_without_tracks_are_refused() -> None:
    with pytest.raises(UnusableModelError, match="users and their tracks differ"):
        serve(user_ids=np.array([1, 2, 3], np.int32))


def test_an_empty_version_is_served() -> None:
    model = make_served_model("m1", checksum=INDEX.checksum, arrays={}, catalog=INDEX)
    assert model.neighbours is None
    assert model.top_tracks is None


def test_models_say_why_one_is_missing() -> None:
    models = Models({"latest": make_served(INDEX)}, {"pinned": "model_broken"})
    assert models.why_not("pinned") == "model_broken"
    assert models.why_not("other") == "no_model"
