"""Experiments: definitions from one YAML file, and the pure assignment of users."""

import bisect
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import mmh3
import msgspec

# Users from here on are people who try the recommender out: an arm serves them, but they take part
# in no experiment, so that no analysis counts them.
FIRST_VISITOR = 2_000_000_000

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
Weight = Annotated[float, msgspec.Meta(gt=0.0)]
Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]


class InvalidExperimentsError(ValueError):
    """A definition that cannot be served; the message names the place and the fault."""


class Treatment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One arm of an experiment, control `C` included.

    Attributes:
        name: `C`, `T1`, `T2`, ...
        weight: Share of users relative to the other arms.
        recommender: The policy that serves it; None in an experiment that is only logged.
        parameters: Of that policy.
        model_version: `latest`, or the id of a pinned version.
    """

    name: Name
    weight: Weight = 1.0
    recommender: Name | None = None
    parameters: dict[str, Any] = msgspec.field(default_factory=dict)
    model_version: Name = "latest"


class Experiment(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """A salted split of the users.

    Attributes:
        name: Salt of the split, as in botify.
        treatments: The arms; the first is the control.
        coverage: Share of users that take part, by a salt of its own: changing it moves
            nobody between arms.
    """

    name: Name
    treatments: tuple[Treatment, ...]
    coverage: Share = 1.0

    @functools.cached_property
    def _seed(self) -> int:
        return _seed(self.name)

    @functools.cached_property
    def _bounds(self) -> list[float]:
        total = sum(treatment.weight for treatment in self.treatments)
        return [b / total for b in itertools.accumulate(t.weight for t in self.treatments)]

    @functools.cached_property
    def is_equal_split(self) -> bool:
        """Whether every arm has the same weight, and the split is botify's."""
        return len({treatment.weight for treatment in self.treatments}) == 1

    def assign(self, user: int) -> Treatment | None:
        """Assign a user to an arm; None outside the coverage.

        Equal arms are split exactly as botify splits them.
        """
        if self.coverage < 1.0 and _uniform(f"{self.name}/coverage", user) >= self.coverage:
            return None
        if self.is_equal_split:
            index = mmh3.hash(str(user), seed=self._seed, signed=False) % len(self.treatments)
        else:
            index = bisect.bisect_right(self._bounds, _uniform(f"{self.name}/weights", user))
        return self.treatments[min(index, len(self.treatments) - 1)]


class ExperimentSet(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True
):
    """Everything that runs at once.

    Attributes:
        serving: Name of the experiment whose treatment recommends.
        experiments: All running experiments; the others are only logged.
        default: Serves users whom the serving experiment does not cover.
    """

    serving: Name
    experiments: tuple[Experiment, ...]
    default: Treatment = Treatment(name="default", recommender="random")

    @functools.cached_property
    def by_name(self) -> Mapping[str, Experiment]:
        """Experiments by name."""
        return {experiment.name: experiment for experiment in self.experiments}

    def assign(self, user: int) -> tuple[Treatment, dict[str, str]]:
        """Assign a user everywhere.

        Returns:
            The treatment that serves, and the treatment's name per experiment: none of a visitor.
        """
        assigned = {e.name: treatment for e in self.experiments if (treatment := e.assign(user))}
        is_visitor = user >= FIRST_VISITOR
        names = {} if is_visitor else {name: arm.name for name, arm in assigned.items()}
        return assigned.get(self.serving, self.default), names


def load_experiments(path: Path) -> ExperimentSet:
    """Read definitions from a YAML file.

    Raises:
        InvalidExperimentsError: If the file is absent, no YAML, or breaks a rule.
    """
    try:
        return parse_experiments(path.read_bytes())
    except OSError as error:
        raise InvalidExperimentsError(f"{path}: {error.strerror}") from error
    except InvalidExperimentsError as error:
        raise InvalidExperimentsError(f"{path}: {error}") from error


def parse_experiments(text: bytes) -> ExperimentSet:
    """Read definitions from YAML.

    Raises:
        InvalidExperimentsError: If the text is no YAML or breaks a rule.
    """
    try:
        experiments = msgspec.yaml.decode(text, type=ExperimentSet)
    except msgspec.MsgspecError as error:
        raise InvalidExperimentsError(str(error)) from error
    _check(experiments)
    return experiments


def _check(experiments: ExperimentSet) -> None:
    names = [experiment.name for experiment in experiments.experiments]
    if len(set(names)) < len(names):
        raise InvalidExperimentsError(f"experiments: names repeat in {names}")
    if experiments.serving not in names:
        raise InvalidExperimentsError(f"serving: no experiment is called {experiments.serving!r}")
    for experiment in experiments.experiments:
        arms = [treatment.name for treatment in experiment.treatments]
        if len(arms) < 2 or arms[0] != "C" or len(set(arms)) < len(arms):
            raise InvalidExperimentsError(
                f"{experiment.name}: treatments are C and at least one other, each once; got {arms}"
            )
    for treatment in experiments.by_name[experiments.serving].treatments:
        if treatment.recommender is None:
            raise InvalidExperimentsError(
                f"{experiments.serving}: treatment {treatment.name} serves and names no recommender"
            )


@functools.lru_cache(maxsize=1024)
def _seed(salt: str) -> int:
    # mmh3 5 rejects negative seeds; modulo 2**32 gives the same hash
    return mmh3.hash(salt) % 2**32


def _uniform(salt: str, user: int) -> float:
    return mmh3.hash(str(user), seed=_seed(salt), signed=False) / 2.0**32
