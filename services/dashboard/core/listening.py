"""A listener at this page: who they are to the recommender, and what they heard."""

import dataclasses
import itertools
from collections import OrderedDict
from collections.abc import Callable

import msgspec

from shared.catalog import Track
from shared.events import MAX_ID
from shared.experiments import FIRST_VISITOR, Experiment

_TRIES = 10_000
_N_LISTENERS = 1000


class NoSuchArmError(LookupError):
    """A treatment that nobody can be in; the message says why."""


class Answer(msgspec.Struct, frozen=True):
    """What the recommender says of its choice; the rest of its answer is ignored.

    Attributes:
        track: That it recommends.
        recommender: The policy that chose it.
        propensity: P(track) under that policy.
        model_version: That the policy read, if any.
        fallback: Why the treatment's own recommender did not answer.
        explanation: Numbers by which it chose, if it can say.
    """

    track: int
    recommender: str | None = None
    propensity: float | None = None
    model_version: str | None = None
    fallback: str | None = None
    explanation: dict[str, float] = {}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
    """A track that a listener was given.

    Attributes:
        track: It.
        time: Fraction listened, in [0, 1]; None while it plays.
        why: The recommender's answer that named it; None of the first, which the listener chose.
    """

    track: Track
    time: float | None = None
    why: Answer | None = None


@dataclasses.dataclass
class Listener:
    """A session of a visitor.

    Attributes:
        token: Names the listener in addresses; nobody guesses it.
        user: Id, in the visitors' range.
        treatment: The arm of the serving experiment that serves them.
        heard: What they heard, in order; the last one plays.
        is_over: Whether they ended the session.
    """

    token: str
    user: int
    treatment: str
    heard: list[Heard]
    is_over: bool = False

    @property
    def playing(self) -> Heard | None:
        """What plays, if anything does."""
        return None if self.is_over else self.heard[-1]

    @property
    def total_time(self) -> float:
        """Fractions listened, summed."""
        return sum(each.time or 0.0 for each in self.heard)

    def name_track(self, track_id: float) -> str:
        """Name a track that they heard, by title; any other by its id."""
        titles = {heard.track.track: heard.track.title for heard in self.heard}
        return titles.get(int(track_id), f"track {track_id:.0f}")

    def go_on(self, time: float, track: Track, why: Answer) -> None:
        """Note how much was listened, and what plays next."""
        self._listened(time)
        self.heard.append(Heard(track=track, why=why))

    def end(self, time: float) -> None:
        """Note how much was listened, and that it was the last."""
        self._listened(time)
        self.is_over = True

    def _listened(self, time: float) -> None:
        self.heard[-1] = dataclasses.replace(self.heard[-1], time=time)


class Listeners:
    """Those who listen now; the longest silent are forgotten first."""

    def __init__(self, *, timeout_s: float, seconds: Callable[[], float]) -> None:
        """Forget a listener after that long in silence."""
        self._timeout_s = timeout_s
        self._seconds = seconds
        self._by_token: OrderedDict[str, tuple[float, Listener]] = OrderedDict()

    def add(self, listener: Listener) -> None:
        """Add one, or note that they are there."""
        self._by_token[listener.token] = self._seconds(), listener
        self._by_token.move_to_end(listener.token)
        while len(self._by_token) > _N_LISTENERS:
            self._by_token.popitem(last=False)

    def find(self, token: str) -> Listener | None:
        """Return one who has not been silent for too long."""
        seen_at, listener = self._by_token.get(token, (0.0, None))
        if listener is None or self._seconds() - seen_at > self._timeout_s:
            self._by_token.pop(token, None)
            return None
        return listener


def pick_user(experiment: Experiment, treatment: str, *, draw: Callable[[int], int]) -> int:
    """Draw a visitor's id that falls into an arm.

    Args:
        experiment: The serving one.
        treatment: Name of the arm.
        draw: Returns a number below its argument.

    Raises:
        NoSuchArmError: If the experiment has no such arm, or hardly anybody falls into it.
    """
    if treatment not in {each.name for each in experiment.treatments}:
        raise NoSuchArmError(f"{experiment.name} has no treatment {treatment}")
    for _ in itertools.repeat(None, _TRIES):
        user = FIRST_VISITOR + draw(MAX_ID + 1 - FIRST_VISITOR)
        arm = experiment.assign(user)
        if arm is not None and arm.name == treatment:
            return user
    raise NoSuchArmError(f"hardly anybody falls into {treatment} of {experiment.name}")
