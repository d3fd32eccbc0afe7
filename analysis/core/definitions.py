"""What was defined when: how an experiment stands, and what changed while it ran."""

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from shared.experiments import Experiment, ExperimentSet


@dataclasses.dataclass(frozen=True)
class Window:
    """Definitions, and the time in which they were served by.

    Attributes:
        definitions: What was defined.
        digest: SHA-256 of it.
        valid_from: When a recommender first loaded it.
        valid_until: When others took over; None if none have.
    """

    definitions: ExperimentSet
    digest: str
    valid_from: datetime
    valid_until: datetime | None


def find_state(windows: Sequence[Window], experiment: str, at: datetime) -> str:
    """Say how an experiment stands.

    Returns:
        `scheduled`, `running` or `ended` by its start and end; `over` if it is no longer defined;
        empty if no definition was ever recorded.
    """
    if not windows:
        return ""
    defined = windows[-1].definitions.by_name.get(experiment)
    return "over" if defined is None else defined.status(1000 * at.timestamp())


def list_experiments(
    windows: Sequence[Window], seen: Mapping[str, Mapping[str, int]]
) -> dict[str, dict[str, int]]:
    """List the users per treatment of all experiments, those without users yet included."""
    listed = {name: dict(arms) for name, arms in seen.items()}
    if windows:
        for name, experiment in windows[-1].definitions.by_name.items():
            arms = dict.fromkeys((treatment.name for treatment in experiment.treatments), 0)
            listed[name] = arms | listed.get(name, {})
    return listed


def find_definition(windows: Sequence[Window], experiment: str) -> Experiment | None:
    """Return an experiment as it was defined last."""
    for window in reversed(windows):
        found = window.definitions.by_name.get(experiment)
        if found is not None:
            return found
    return None


def find_recorded_weights(
    windows: Sequence[Window], experiment: str, seen: Sequence[str]
) -> dict[str, float] | None:
    """Return the weights of the split, unless events name arms that the definition lacks."""
    definition = find_definition(windows, experiment)
    if definition is None:
        return None
    weights = {treatment.name: treatment.weight for treatment in definition.treatments}
    return weights if set(seen) <= weights.keys() else None


def describe_changes(
    windows: Sequence[Window], experiment: str, *, first_at: datetime, last_at: datetime
) -> list[str]:
    """Say what became different in an experiment between its first and its last event."""
    lines = []
    for before, after in itertools.pairwise(windows):
        if not first_at < after.valid_from <= last_at:
            continue
        one = before.definitions.by_name.get(experiment)
        other = after.definitions.by_name.get(experiment)
        changes = list(_compare(one, other))
        if changes:
            moment = f"{after.valid_from.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
            lines.append(f"{moment}: {', '.join(changes)}")
    return lines


def _compare(one: Experiment | None, other: Experiment | None) -> Iterator[str]:
    if one is None or other is None:
        if one is not other:
            yield "defined" if one is None else "no longer defined"
        return
    for field in ("coverage", "salt", "layer", "traffic", "start", "end"):
        yield from _differ(field, getattr(one, field), getattr(other, field))
    before = {treatment.name: treatment for treatment in one.treatments}
    after = {treatment.name: treatment for treatment in other.treatments}
    for name in {**before, **after}:
        if name not in before or name not in after:
            yield f"{name} {'added' if name in after else 'removed'}"
            continue
        for field in ("weight", "recommender", "parameters", "model_version"):
            old, new = getattr(before[name], field), getattr(after[name], field)
            yield from _differ(f"{name} {field}", old, new)


def _differ(name: str, old: Any, new: Any) -> Iterator[str]:
    if old != new:
        yield f"{name} from {_show(old)} to {_show(new)}"


def _show(value: Any) -> str:
    match value:
        case None:
            return "none"
        case datetime():
            return value.isoformat()
        case dict():
            return ", ".join(f"{key}={each}" for key, each in value.items()) or "none"
        case tuple():
            return " to ".join(f"{each:g}" for each in value)
        case float():
            return f"{value:g}"
        case _:
            return str(value)
