from datetime import UTC, datetime, timedelta

from prometheus_client import generate_latest

from services.trainer.adapters.metrics import Metrics
from shared.artifacts import ModelManifest


def read(metrics: Metrics) -> dict[str, float]:
    lines = generate_latest(metrics.registry).decode().splitlines()
    words = (line.rpartition(" ") for line in lines if line[0] != "#")
    return {name: float(value) for name, _, value in words}


def test_a_training_is_running_until_it_ends() -> None:
    metrics = Metrics()
    metrics.observe_start()
    assert read(metrics)["segue_trainer_running"] == 1
    assert read(metrics)["segue_trainer_last_success_timestamp_seconds"] == 0
    metrics.observe_end("failed", duration_s=1)
    assert read(metrics)["segue_trainer_running"] == 0
    assert read(metrics)["segue_trainer_last_success_timestamp_seconds"] == 0
    metrics.observe_end("succeeded", duration_s=1)
    assert read(metrics)["segue_trainer_last_success_timestamp_seconds"] > 1e9


def test_every_stage_is_counted_once_however_often_it_is_named() -> None:
    metrics = Metrics()
    for stage, fields in [
        ("reading", {}),
        (None, {"warning": "w"}),
        ("training", {"epoch": 1, "train": 0.5, "validation": 0.6}),
        ("training", {"epoch": 2, "train": 0.4, "validation": 0.5}),
        ("publishing", {}),
    ]:
        metrics.observe_progress(stage, fields)
    metrics.observe_end("succeeded", duration_s=3)
    values = read(metrics)
    for stage in ("reading", "training", "publishing"):
        assert values[f'segue_trainer_stage_seconds_count{{stage="{stage}"}}'] == 1
    assert values['segue_trainer_loss{part="validation"}'] == 0.5


def test_the_active_version_is_named_alone_and_its_age_is_that_of_the_moment() -> None:
    metrics = Metrics()
    assert read(metrics)["segue_trainer_model_age_seconds"] == -1
    for name in ("m1", "m2"):
        created_at = datetime.now(UTC) - timedelta(hours=1)
        manifest = ModelManifest(
            model_version=name, recipe="session", created_at=created_at, catalog_checksum="c"
        )
        metrics.observe_active(manifest)
    values = read(metrics)
    named = [name for name in values if name.startswith("segue_trainer_model_info")]
    assert named == ['segue_trainer_model_info{model_version="m2",recipe="session"}']
    first, later = (read(metrics)["segue_trainer_model_age_seconds"] for _ in range(2))
    assert 3600 <= first < later
    metrics.observe_active(None)
    assert read(metrics)["segue_trainer_model_age_seconds"] == -1
