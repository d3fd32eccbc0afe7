"""How far a job is, gathered from the messages of its process."""

from collections.abc import Mapping
from typing import Any

from services.trainer.order import Message

OUTCOME = ("metrics", "reliability", "comparison", "promotion")


def add_progress(progress: dict[str, Any], message: Message) -> None:
    """Add a message of the training process to what is known of its progress."""
    fields: Mapping[str, Any] = message.fields
    if message.stage is not None:
        progress["stage"] = message.stage
    if message.stage is not None or fields:
        progress.setdefault("events", []).append({"stage": message.stage, **fields})
    if "resumed_after" in fields:
        losses = progress.get("losses", [])
        progress["losses"] = [one for one in losses if one["epoch"] <= fields["resumed_after"]]
    if "epoch" in fields:
        progress["epoch"] = fields["epoch"]
        progress.setdefault("losses", []).append(dict(fields))
    elif "warning" in fields:
        warnings = progress.setdefault("warnings", [])
        if fields["warning"] not in warnings:
            warnings.append(fields["warning"])
    else:
        progress.update(fields)
