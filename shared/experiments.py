"""Experiments: what runs, for whom and when, and the pure assignment of users."""

import bisect
import functools
import itertools
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Literal, NamedTuple

import mmh3
import msgspec

# Users from here on are people who try the recommender out: an arm serves them, but they take part
# in no experiment, so that no analysis counts them.
FIRST_VISITOR = 2_000_000_000

CONTROL = "C"

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=100, pattern=r"^[A-Za-z0-9_.-]+$")]
Weight = Annotated[float, msgspec.Meta(gt=0.0)]
Share = Annotated[float, msgspec.Meta(gt=0.0, le=1.0)]
Bound = Annotated[float, msgspec.Meta(ge=0.0, le=1.0)]
Minority = Annotated[float, msgspec.Meta(gt=0.0, lt=0.5)]
Moment = Annotated[datetime, msgspec.Meta(tz=True)]
Status = Literal["scheduled", "running", "ended"]


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
        name: What events call it.
        treatments: The arms; the first is the control.
        coverage: Share of users that take part, by a salt of its own: changing it moves
            nobody between arms.
        salt: Of the split; the name, as in botify, if absent.
        layer: Experiments of one layer share its users by `traffic`; layers split independently.
        traffic: Range of the layer's users that the experiment has, from and below.
        start: Sessions that begin earlier take no part; aware.
        end: Nor do those that begin then or later.
    """

    name: Name
    treatments: tuple[Treatment, ...]
    coverage: Share = 1.0
    salt: Name | None = None
    layer: Name | None = None
    traffic: tuple[Bound, Bound] = (0.0, 1.0)
    start: Moment | None = None
    end: Moment | None = None

    @functools.cached_property
    def _salt(self) -> str:
        return self.salt or self.name

    @functools.cached_property
    def _bounds(self) -> list[float]:
        total = sum(treatment.weight for treatment in self.treatments)
        return [b / total for b in itertools.accumulate(t.weight for t in self.treatments)]

    @functools.cached_property
    def _window_ms(self) -> tuple[float, float]:
        start = float("-inf") if self.start is None else 1000 * self.start.timestamp()
        end = float("inf") if self.end is None else 1000 * self.end.timestamp()
        return start, end

    @functools.cached_property
    def is_equal_split(self) -> bool:
        """Whether every arm has the same weight, and the split is botify's."""
        return len({treatment.weight for treatment in self.treatments}) == 1

    @property
    def control(self) -> Treatment:
        """The arm that the others are compared with."""
        return self.treatments[0]

    def status(self, at_ms: float) -> Status:
        """Say how a moment, in ms since 1970, lies to the experiment's start and end."""
        start, end = self._window_ms
        if at_ms < start:
            return "scheduled"
        return "running" if at_ms < end else "ended"

    def assign(self, user: int) -> Treatment | None:
        """Assign a user to an arm; None outside the layer's range or the coverage.

        Equal arms are split exactly as botify splits them.
        """
        if self.layer is not None:
            start, end = self.traffic
            if not start <= _uniform(f"{self.layer}/layer", user) < end:
                return None
        if self.coverage < 1.0 and _uniform(f"{self._salt}/coverage", user) >= self.coverage:
            return None
        if self.is_equal_split:
            hashed = mmh3.hash(str(user), seed=_seed(self._salt), signed=False)
            index = hashed % len(self.treatments)
        else:
            index = bisect.bisect_right(self._bounds, _uniform(f"{self._salt}/weights", user))
        return self.treatments[min(index, len(self.treatments) - 1)]


class Holdout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True):
    """Users who are kept out of all experiments, to tell what all of them together are worth.

    Attributes:
        share: Of the users; raising it keeps those who are in.
        name: Under which events say who is held out (`C`) and who is not (`T1`).
    """

    share: Minority
    name: Name = "HOLDOUT"

    @functools.cached_property
    def experiment(self) -> Experiment:
        """The holdout as an experiment, whose control is what is held out."""
        held_out = Treatment(name=CONTROL, weight=self.share)
        others = Treatment(name="T1", weight=1.0 - self.share)
        return Experiment(name=self.name, treatments=(held_out, others))

    def name_arm(self, user: int) -> str:
        """Return a user's arm: `C` is held out."""
        arm = self.experiment.assign(user)
        return CONTROL if arm is None else arm.name


class Assignment(NamedTuple):
    """What a user gets.

    Attributes:
        experiment: Whose treatment serves; empty if that is the default.
        treatment: That serves.
        names: Treatment per experiment that the user takes part in.
    """

    experiment: str
    treatment: Treatment
    names: dict[str, str]


class ExperimentSet(
    msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, dict=True
):
    """Everything that is defined at once.

    Attributes:
        serving: The experiment whose treatment recommends, or several of one layer.
        experiments: All experiments; the others are only logged.
        default: Serves users whom no serving experiment covers, and those held out.
        holdout: Users who are kept out of everything.
    """

    serving: Name | tuple[Name, ...]
    experiments: tuple[Experiment, ...]
    default: Treatment = Treatment(name="default", recommender="random")
    holdout: Holdout | None = None

    @functools.cached_property
    def serving_names(self) -> tuple[str, ...]:
        """Names of the experiments that serve, in order."""
        return (self.serving,) if isinstance(self.serving, str) else self.serving

    @functools.cached_property
    def by_name(self) -> Mapping[str, Experiment]:
        """Experiments by name, the holdout among them."""
        named = {experiment.name: experiment for experiment in self.experiments}
        if self.holdout is not None:
            named[self.holdout.name] = self.holdout.experiment
        return named

    def assign(self, user: int, at_ms: float) -> Assignment:
        """Assign a user everywhere.

        Outside its window an experiment has nobody, and if it serves, its control does.

        Args:
            user: Listener id.
            at_ms: When the session began, in ms since 1970, so that no session changes arms.
        """
        is_visitor = user >= FIRST_VISITOR
        names: dict[str, str] = {}
        if self.holdout is not None and not is_visitor:
            names[self.holdout.name] = self.holdout.name_arm(user)
            if names[self.holdout.name] == CONTROL:
                return Assignment("", self.default, names)
        running, idle = self._assign_all(user, at_ms)
        if not is_visitor:
            names |= {name: arm.name for name, arm in running.items()}
        for arms in (running, idle):
            for name in self.serving_names:
                if name in arms:
                    return Assignment(name, arms[name], names)
        return Assignment("", self.default, names)

    def _assign_all(
        self, user: int, at_ms: float
    ) -> tuple[dict[str, Treatment], dict[str, Treatment]]:
        """Return the arms of the running experiments, and the controls of the others."""
        running: dict[str, Treatment] = {}
        idle: dict[str, Treatment] = {}
        for experiment in self.experiments:
            arm = experiment.assign(user)
            if arm is not None and experiment.status(at_ms) == "running":
                running[experiment.name] = arm
            elif arm is not None:
                idle[experiment.name] = experiment.control
        return running, idle


@functools.lru_cache(maxsize=1024)
def _seed(salt: str) -> int:
    # mmh3 5 rejects negative seeds; modulo 2**32 gives the same hash
    return mmh3.hash(salt) % 2**32


def _uniform(salt: str, user: int) -> float:
    return mmh3.hash(str(user), seed=_seed(salt), signed=False) / 2.0**32
