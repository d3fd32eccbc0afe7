"""Arrays that several workers read from the same pages."""

import os
from pathlib import Path

import numpy as np
import pytest

from services.recommender.adapters.shared_arrays import AnyArray, SharedArrays


@pytest.fixture
def shared(tmp_path: Path) -> SharedArrays:
    """Return a store in an empty folder."""
    return SharedArrays(tmp_path / "arrays")


def files(tmp_path: Path) -> list[Path]:
    return sorted((tmp_path / "arrays").iterdir())


def mapped_inodes(path: Path) -> set[int]:
    """Return the inodes of this process's mappings below a path."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return {int(line.split()[4]) for line in lines if str(path) in line}


@pytest.mark.parametrize(
    "array",
    [
        np.arange(12, dtype=np.int32).reshape(3, 4),
        np.linspace(0, 1, 50_000, dtype=np.float32),
        np.empty((0, 3), np.float32),
    ],
)
def test_what_is_shared_is_the_same_and_cannot_be_changed(
    shared: SharedArrays, array: AnyArray
) -> None:
    kept, _ = shared.share(array)
    assert type(kept) is np.ndarray  # a memmap's items cost more to look up
    assert (kept.dtype, kept.shape) == (array.dtype, array.shape)
    assert (kept == array).all()
    assert not kept.flags.writeable


def test_a_second_worker_maps_the_file_of_the_first(shared: SharedArrays, tmp_path: Path) -> None:
    array = np.arange(100_000, dtype=np.int32)
    _one, name = shared.share(array)
    _two, again = SharedArrays(tmp_path / "arrays").share(array.copy())
    assert name == again
    assert [path.name for path in files(tmp_path)] == [name]
    assert mapped_inodes(tmp_path) == {files(tmp_path)[0].stat().st_ino}


def test_a_damaged_file_is_not_believed(shared: SharedArrays, tmp_path: Path) -> None:
    array = np.arange(1000, dtype=np.int32)
    _, name = shared.share(array)
    (tmp_path / "arrays" / name).write_bytes(b"torn")
    for _ in range(2):
        kept, _ = shared.share(array)
        assert (kept == array).all()


def test_what_no_version_needs_goes_and_a_mapping_outlives_it(
    shared: SharedArrays, tmp_path: Path
) -> None:
    old, old_name = shared.share(np.arange(1000, dtype=np.int32))
    _, new_name = shared.share(np.arange(2000, dtype=np.int32))
    _, fresh_name = shared.share(np.arange(3000, dtype=np.int32))  # of a worker that is ahead
    (tmp_path / "arrays" / "dead.part").write_bytes(b"torn")
    for name in (old_name, new_name, "dead.part"):
        os.utime(tmp_path / "arrays" / name, (0, 0))
    shared.remove_others({new_name})
    assert {path.name for path in files(tmp_path)} == {new_name, fresh_name}
    assert (old == np.arange(1000)).all()
