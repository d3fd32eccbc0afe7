"""A model version survives the disk whole, or is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from shared.arrays import AnyArray
from shared.artifacts import ArtifactError, make_model
from shared.model_arrays import ARRAYS
from shared.model_files import load_model, save_model
from tests.unit.shared.models import make_version


def test_a_saved_model_is_loaded_to_the_bit(tmp_path: Path) -> None:
    model = make_version()
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    assert loaded.manifest == model.manifest
    assert loaded.arrays.keys() == model.arrays.keys()
    for name, array in model.arrays.items():
        assert loaded.arrays[name].dtype == array.dtype
        assert loaded.arrays[name].tobytes() == array.tobytes()


def test_one_changed_byte_is_found(tmp_path: Path) -> None:
    save_model(make_version(), tmp_path)
    path = tmp_path / "neighbours.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\x7f")
    with pytest.raises(ArtifactError, match="neighbours is damaged"):
        load_model(tmp_path)


def test_a_missing_array_is_named(tmp_path: Path) -> None:
    save_model(make_version(), tmp_path)
    (tmp_path / "neighbours.npy").unlink()
    with pytest.raises(ArtifactError, match="neighbours"):
        load_model(tmp_path)


def test_a_pickle_is_never_opened(tmp_path: Path) -> None:
    save_model(make_version(), tmp_path)
    np.save(tmp_path / "neighbours.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(ArtifactError):
        load_model(tmp_path)


@pytest.mark.parametrize("text", ["nonsense", "{}", '{"model_version": "a b"}'])
def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_text(text)
    with pytest.raises(ArtifactError, match="manifest"):
        load_model(tmp_path)


def test_an_absent_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="absent"):
        load_model(tmp_path / "absent")


@pytest.mark.parametrize(
    ("name", "array", "fault"),
    [
        ("neighbours", np.zeros((2, 2), np.int64), "int64"),
        ("neighbours", np.zeros(2, np.int32), "axes"),
        ("top_tracks", np.zeros((2, 2), np.int32), "axes"),
        ("track_embedding", np.zeros((2, 2), np.float64), "float64"),
        ("track_embedding", np.full((2, 2), np.nan, np.float32), "finite"),
        ("track_variance", np.zeros((2, 1), np.float32), "1 axes"),
        ("track_variance", np.full(2, np.inf, np.float32), "finite"),
        ("interest_prior", np.zeros(2, np.float32), "2 axes"),
        ("interest_users", np.zeros(2, np.int64), "int64"),
        ("weights", np.zeros(2, np.float32), "weights"),
    ],
)
def test_an_array_that_nobody_could_read_is_refused(name: str, array: AnyArray, fault: str) -> None:
    with pytest.raises(ArtifactError, match=fault):
        make_model(make_version().manifest, {name: array})


@pytest.mark.parametrize("name", ARRAYS)
def test_every_array_of_the_table_survives_the_disk(name: str, tmp_path: Path) -> None:
    dtype, ndim = ARRAYS[name]
    array = np.arange(2**ndim).reshape((2,) * ndim).astype(dtype)
    save_model(make_model(make_version().manifest, {name: array}), tmp_path)
    assert np.array_equal(load_model(tmp_path).arrays[name], array)


def test_the_manifest_on_disk_can_be_read_by_people(tmp_path: Path) -> None:
    save_model(make_version(), tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert manifest["model_version"] == "v00"
    assert manifest["created_at"] == "2026-01-01T00:00:00Z"
