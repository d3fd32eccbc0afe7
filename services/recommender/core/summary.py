"""What definitions come to at a moment, in a line per experiment."""

from collections.abc import Iterator
from datetime import datetime

from shared.experiments import Experiment, ExperimentSet, Treatment


def summarise(experiments: ExperimentSet, at: datetime) -> Iterator[str]:
    """Say of each experiment how it stands, who takes part, and what its arms are."""
    if experiments.holdout is not None:
        yield f"{experiments.holdout.name}: {experiments.holdout.share:.1%} of the users held out"
    for experiment in experiments.experiments:
        role = "serving" if experiment.name in experiments.serving_names else "logged"
        parts = [
            f"{role}, {experiment.status(1000 * at.timestamp())}",
            *_describe_window(experiment),
            *_describe_users(experiment),
            *(_describe_arm(arm, experiment) for arm in experiment.treatments),
        ]
        yield f"{experiment.name}: {'; '.join(parts)}"


def _describe_window(experiment: Experiment) -> Iterator[str]:
    if experiment.start is not None:
        yield f"from {experiment.start.isoformat()}"
    if experiment.end is not None:
        yield f"until {experiment.end.isoformat()}"


def _describe_users(experiment: Experiment) -> Iterator[str]:
    if experiment.layer is not None:
        first, last = experiment.traffic
        yield f"{first:.1%} to {last:.1%} of layer {experiment.layer}"
    if experiment.coverage < 1:
        yield f"{experiment.coverage:.1%} of the users"


def _describe_arm(treatment: Treatment, experiment: Experiment) -> str:
    share = treatment.weight / sum(arm.weight for arm in experiment.treatments)
    return f"{treatment.name} {share:.0%}" + (
        f" {treatment.recommender}" if treatment.recommender else ""
    )
