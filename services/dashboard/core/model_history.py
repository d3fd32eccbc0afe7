"""Model versions in the order of their making, with what each came from."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from services.dashboard.core.formats import describe_metric

JSON = Mapping[str, Any]

_COSTS = ("_s", "_bytes")
_LOSSES = {"train": "training", "validation": "validation", "track_loss": "before tracks"}
_SESSION_LOSSES = _LOSSES | {"train": "before interests"}  # of an iteration's two halves


@dataclasses.dataclass(frozen=True)
class ModelRow:
    """A version in the list.

    Attributes:
        model: As the trainer shows it.
        is_parent_listed: Whether its parent is in the list too.
        depth: How many of its ancestors are listed.
    """

    model: JSON
    is_parent_listed: bool
    depth: int


def make_rows(models: Sequence[JSON]) -> list[ModelRow]:
    """Lay versions out, in their order."""
    by_name = {model["model_version"]: model for model in models}
    rows = []
    for model in models:
        depth, ancestor = 0, by_name.get(model["parent"])
        while ancestor is not None and depth < len(models):
            depth, ancestor = depth + 1, by_name.get(ancestor["parent"])
        rows.append(ModelRow(model, model["parent"] in by_name, depth))
    return rows


def find_job(jobs: Sequence[JSON], version: str) -> dict[str, Any] | None:
    """Return the training that made a version, if it is among them."""
    return next((dict(job) for job in jobs if job["model_version"] == version), None)


def find_losses(
    job: JSON | None,
) -> tuple[tuple[int, ...], tuple[tuple[str, tuple[float, ...]], ...]] | None:
    """Return the epochs of a training and its losses by name; None if it told of fewer than two."""
    losses = (job or {}).get("progress", {}).get("losses") or []
    if len(losses) < 2:
        return None
    labels = _SESSION_LOSSES if "track_loss" in losses[0] else _LOSSES
    names = [name for name in labels if all(name in loss for loss in losses)]
    epochs = tuple(int(loss["epoch"]) for loss in losses)
    curves = tuple((labels[name], tuple(float(loss[name]) for loss in losses)) for name in names)
    return (epochs, curves) if curves else None


def pick_headlines(metrics: Mapping[str, float], *, most: int = 3) -> list[tuple[str, str]]:
    """Return a version's first metrics as readers see them; what it cost is none."""
    shown = [(name, value) for name, value in metrics.items() if not name.endswith(_COSTS)]
    return [describe_metric(name, value) for name, value in shown[:most]]
