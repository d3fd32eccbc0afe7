"""What `POST /train` accepts is what a training takes."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest
from pydantic import ValidationError

from services.trainer.core.parameters import TrainingParameters
from services.trainer.order import (
    Message,
    decode_order,
    encode_order,
    from_dict,
    make_order,
    to_dict,
)
from services.trainer.progress import add_progress
from services.trainer.settings import Settings
from services.trainer.train_request import TrainRequest


def test_an_empty_request_is_the_default_training() -> None:
    assert TrainRequest().to_parameters() == TrainingParameters()


@pytest.mark.parametrize(
    ("body", "dim"),
    [
        ({"recipe": "track_only"}, 100),
        ({"recipe": "session"}, 32),
        ({"recipe": "session", "dim": 8}, 8),
    ],
)
def test_the_recipe_chooses_the_dim_unless_the_request_does(
    body: dict[str, object], dim: int
) -> None:
    assert TrainRequest.model_validate(body).to_parameters().dim == dim


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"recipe": "unheard_of"}, "recipe"),
        ({"dim": 0}, "dim"),
        ({"dim": "100"}, "dim"),
        ({"epochs": 1.5}, "epochs"),
        ({"learning_rate": 0}, "learning_rate"),
        ({"learning_rate": float("nan")}, "learning_rate"),
        ({"batch_size": -1}, "batch_size"),
        ({"neighbours": 501}, "neighbours"),
        ({"seed": -1}, "seed"),
        ({"since": "2026-01-01T00:00:00"}, "since"),
        ({"until": "yesterday"}, "until"),
        ({"activate": True}, "activate"),
        ({"promote": "sometimes"}, "promote"),
        ({"window_days": 0}, "window_days"),
        ({"held_out": 0.6}, "held_out"),
        ({"warm_start": 1}, "warm_start"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_a_bad_field_is_named(body: dict[str, object], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        TrainRequest.model_validate(body)
    assert caught.value.errors()[0]["loc"] == (field,)


def test_a_window_must_not_end_before_it_begins() -> None:
    at = "2026-01-01T00:00:00Z"
    with pytest.raises(ValidationError, match="since must be before until"):
        TrainRequest.model_validate({"since": at, "until": at})


def test_a_window_begins_once() -> None:
    with pytest.raises(ValidationError, match="give one"):
        TrainRequest.model_validate({"since": "2026-01-01T00:00:00Z", "window_days": 2})


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"held_out": 0}, "artist_concat chooses its epoch"),
        ({"held_out": 0, "recipe": "session"}, "promote auto needs held-out sessions"),
    ],
)
def test_what_needs_held_out_sessions_says_so(body: dict[str, object], fault: str) -> None:
    with pytest.raises(ValidationError, match=fault):
        TrainRequest.model_validate(body)
    assert TrainRequest(held_out=0, recipe="session", promote="always").held_out == 0


def test_parameters_come_back_from_what_is_stored_of_them() -> None:
    parameters = TrainingParameters(since=datetime(2026, 1, 1, tzinfo=UTC), promote="never")
    assert from_dict(json.loads(json.dumps(to_dict(parameters)))) == parameters


def test_a_resumed_training_replaces_the_losses_after_its_checkpoint() -> None:
    progress: dict[str, Any] = {}
    for fields in ({"epoch": 1}, {"epoch": 2}, {"resumed_after": 1}, {"epoch": 2}, {"epoch": 3}):
        add_progress(progress, Message(stage="training", fields=dict(fields)))
    assert [loss["epoch"] for loss in progress["losses"]] == [1, 2, 3]
    assert len(progress["events"]) == 5


def test_a_warning_is_kept_once() -> None:
    progress: dict[str, Any] = {"stage": "training"}
    for _ in range(2):
        add_progress(progress, Message(fields={"warning": "no checkpoint"}))
    assert progress["warnings"] == ["no checkpoint"]
    assert progress["stage"] == "training"


def test_an_order_reaches_the_process_whole() -> None:
    parameters = TrainingParameters(since=datetime(2026, 1, 1, tzinfo=UTC), learning_rate=0.5)
    order = make_order(UUID(int=7), parameters, Settings())
    assert decode_order(encode_order(order)) == order
    assert order.parameters == parameters


def test_progress_gathers_losses() -> None:
    progress: dict[str, object] = {}
    add_progress(progress, Message(stage="training", fields={"pairs": 9}))
    for epoch in (1, 2):
        fields = {"epoch": epoch, "train": 0.5, "validation": 0.6}
        add_progress(progress, Message(stage="training", fields=fields))
    add_progress(progress, Message(stage="neighbours"))
    assert progress["stage"] == "neighbours"
    assert (progress["pairs"], progress["epoch"]) == (9, 2)
    assert progress["losses"] == [
        {"epoch": epoch, "train": 0.5, "validation": 0.6} for epoch in (1, 2)
    ]


def test_the_schema_says_what_every_field_means() -> None:
    fields = TrainRequest.model_json_schema()["properties"]
    assert [name for name, field in fields.items() if not field.get("description")] == []
    assert fields["batch_size"]["description"].endswith("batch size of its own.")
    assert fields["until"]["description"] == fields["since"]["description"]
