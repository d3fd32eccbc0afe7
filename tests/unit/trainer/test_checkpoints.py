"""A training that is killed goes on from its checkpoint to the bits of one that was not."""

import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import numpy.typing as npt
import pytest

from services.trainer.adapters.job_folder import (
    DiskCheckpoints,
    JobFolder,
    Origin,
    prune_job_folders,
)
from services.trainer.core.checkpoints import CheckpointStore
from services.trainer.core.parameters import RecipeName, TrainingParameters
from services.trainer.core.playbacks import PlaybackLog, make_log
from services.trainer.core.recipe import Fitted, fit_recipe
from tests.unit.trainer.logs import make_block_playbacks, make_blocks

CATALOG = make_blocks()
LOG = make_log(make_block_playbacks(CATALOG))
SNAPSHOT = {"a": np.arange(3), "b.c": np.array(0.5)}


class KilledError(Exception):
    """Stands for SIGKILL."""


def fit(
    recipe: RecipeName,
    store: CheckpointStore | None,
    *,
    log: PlaybackLog = LOG,
    killed_at: int | None = None,
    **more: Any,
) -> tuple[Fitted, list[Mapping[str, Any]]]:
    """Fit; die when an epoch is reported, if so told."""
    told: list[Mapping[str, Any]] = []

    def report(_: object, **fields: Any) -> None:
        if killed_at is not None and fields.get("epoch") == killed_at:
            raise KilledError
        told.append(fields)

    parameters = TrainingParameters(
        recipe=recipe, **{"dim": 6, "epochs": 5, "neighbours": 5} | more
    )
    return fit_recipe(log, CATALOG, parameters=parameters, report=report, checkpoints=store), told


def make_store(folder: Path, failures: list[str] | None = None) -> DiskCheckpoints:
    return DiskCheckpoints(folder / "checkpoint.npz", (failures or []).append)


@pytest.mark.parametrize(
    ("recipe", "killed_at", "resumed_after"),
    [("artist_concat", 3, 2), ("track_only", 2, 1), ("session", 1, 0), ("session", 4, 3)],
)
def test_a_resumed_training_ends_in_the_same_bits(
    tmp_path: Path, recipe: RecipeName, killed_at: int, resumed_after: int
) -> None:
    expected, _ = fit(recipe, None)
    with pytest.raises(KilledError):
        fit(recipe, make_store(tmp_path), killed_at=killed_at)
    resumed, told = fit(recipe, make_store(tmp_path))
    assert {"resumed_after": resumed_after} in told
    assert min(fields["epoch"] for fields in told if "epoch" in fields) == resumed_after + 1
    assert not any("start_epoch" in fields for fields in told)
    for name, array in expected.arrays.items():
        assert array.tobytes() == resumed.arrays[name].tobytes(), name
    assert resumed.metrics == expected.metrics


def test_a_resumed_training_is_enriched_as_it_was_before(tmp_path: Path) -> None:
    enriched = {"negatives": 4, "negatives_from": "other_clusters", "clusters": 4}
    expected, _ = fit("artist_concat", None, **enriched)
    with pytest.raises(KilledError):
        fit("artist_concat", make_store(tmp_path), killed_at=3, **enriched)
    resumed, told = fit("artist_concat", make_store(tmp_path), **enriched)
    assert {"resumed_after": 2} in told
    assert all(a.tobytes() == resumed.arrays[name].tobytes() for name, a in expected.arrays.items())
    assert resumed.metrics == expected.metrics


def test_a_session_training_killed_while_it_takes_in_the_last_sessions_is_resumed(
    tmp_path: Path,
) -> None:
    expected, told = fit("session", None)
    last = max(fields["epoch"] for fields in told if "epoch" in fields)
    with pytest.raises(KilledError):
        fit("session", make_store(tmp_path), killed_at=last)
    resumed, _ = fit("session", make_store(tmp_path))
    assert all(a.tobytes() == resumed.arrays[name].tobytes() for name, a in expected.arrays.items())
    assert resumed.metrics == expected.metrics


@pytest.mark.parametrize("recipe", ["artist_concat", "session"])
def test_a_checkpoint_of_another_training_is_not_used(tmp_path: Path, recipe: RecipeName) -> None:
    fit(recipe, make_store(tmp_path))
    other = make_log(make_block_playbacks(CATALOG, seed=1))
    for changed in ({"seed": 1}, {"log": other}):
        _, told = fit(recipe, make_store(tmp_path), killed_at=None, **changed)
        assert not any("resumed_after" in fields for fields in told)


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
    store = make_store(tmp_path)
    assert store.load("f") is None
    store.save("f", SNAPSHOT)
    store.save("f", SNAPSHOT | {"a": np.arange(4)})
    loaded = store.load("f")
    assert loaded is not None
    assert {name: value.tolist() for name, value in loaded.items()} == {
        "a": [0, 1, 2, 3],
        "b.c": 0.5,
    }
    assert store.load("another") is None
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.npz"]


@pytest.mark.parametrize("kept", [0, 10, 200])
def test_a_damaged_checkpoint_is_reported_and_not_used(tmp_path: Path, kept: int) -> None:
    failures: list[str] = []
    store = DiskCheckpoints(tmp_path / "checkpoint.npz", failures.append)
    store.save("f", SNAPSHOT)
    path = tmp_path / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:kept])
    assert store.load("f") is None
    assert "begins anew" in failures[0]


def test_a_checkpoint_never_runs_code(tmp_path: Path) -> None:
    path, failures = tmp_path / "checkpoint.npz", []
    hidden: npt.NDArray[Any] = np.array([{"pickled": "object"}], dtype=object)
    np.savez(path, fingerprint=np.array("f"), a=hidden)
    assert DiskCheckpoints(path, failures.append).load("f") is None
    assert "begins anew" in failures[0]


def test_a_full_disk_costs_the_checkpoint_and_not_the_training(tmp_path: Path) -> None:
    # /dev/full answers every write as a full disk does.
    (tmp_path / "checkpoint.npz.new").symlink_to("/dev/full")
    failures: list[str] = []
    store = DiskCheckpoints(tmp_path / "checkpoint.npz", failures.append)
    store.save("f", SNAPSHOT)
    assert failures == ["no checkpoint: No space left on device"]
    assert store.load("f") is None
    expected, _ = fit("track_only", None)
    (tmp_path / "checkpoint.npz.new").unlink(missing_ok=True)
    nowhere = DiskCheckpoints(Path("/dev/full/checkpoint.npz"), failures.append)
    fitted, _ = fit("track_only", nowhere)
    assert len(failures) > 1
    embedding = fitted.arrays["track_embedding"]
    assert np.array_equal(embedding, expected.arrays["track_embedding"])


def test_what_jobs_leave_is_bounded(tmp_path: Path) -> None:
    ids = [UUID(int=number) for number in range(6)]
    for number, job_id in enumerate(ids):
        job = JobFolder(tmp_path, job_id)
        job.save_artifact("losses.png", b"picture")
        make_store(job.checkpoint.parent).save("f", SNAPSHOT)
        os.utime(job.checkpoint.parent, (number, number))
    prune_job_folders(tmp_path, keep=4, keep_checkpoints=2)
    found = [
        (bool(JobFolder(tmp_path, i).list_artifacts()), JobFolder(tmp_path, i).checkpoint.exists())
        for i in ids
    ]
    assert found == [(False, False)] * 2 + [(True, False)] * 2 + [(True, True)] * 2


def test_what_a_job_read_is_known_until_it_succeeds(tmp_path: Path) -> None:

    job = JobFolder(tmp_path, UUID(int=1))
    assert job.load_origin() is None
    origin = Origin(datetime(2026, 1, 2, tzinfo=UTC), "m1")
    job.save_origin(origin)
    make_store(job.checkpoint.parent).save("f", SNAPSHOT)
    assert job.load_origin() == origin
    job.forget_checkpoint()
    assert job.load_origin() is None
    assert not job.checkpoint.exists()
