"""The decision: a report and a session give an answer, an event and the session after it."""

from collections.abc import Callable
from datetime import UTC, datetime
from time import perf_counter, thread_time

import msgspec
import numpy as np

from services.recommender.core.answers import Answer, tell_event
from services.recommender.core.catalog_index import CatalogIndex
from services.recommender.core.draws import Draw
from services.recommender.core.explanations import Explanation
from services.recommender.core.models import Models
from services.recommender.core.open_session import OpenSession
from services.recommender.core.pace import Pace
from services.recommender.core.policies import Policy, Recommendation, make_policies
from services.recommender.core.recommenders import Context
from services.recommender.core.sessions import (
    Receipt,
    Report,
    Session,
    UserState,
    append_playback,
    read_history,
)
from shared.events import Event, make_event_id, read_milliseconds
from shared.experiments import ExperimentSet

_encode = msgspec.json.Encoder().encode


class UnknownTrackError(ValueError):
    """A report of a track that the catalogue does not have."""


class ReusedKeyError(ValueError):
    """An idempotency key that came before with another report."""


class Clock(msgspec.Struct, frozen=True):
    """Time as an argument.

    Attributes:
        now: Names moments.
        seconds: Measures between them.
        cpu_seconds: Measures what this thread has computed, however busy the machine.
    """

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    seconds: Callable[[], float] = perf_counter
    cpu_seconds: Callable[[], float] = thread_time


class Outcome(msgspec.Struct, frozen=True):
    """What follows from a report.

    Attributes:
        answer: Body to send.
        state: State to store; None stores nothing and deletes what was there.
        event: Event to store with it; None at a retry, which changes nothing.
    """

    answer: bytes
    state: UserState | None
    event: Event | None


class Decider:
    """Everything that decisions depend on and that does not change while the service runs."""

    def __init__(
        self,
        catalog: CatalogIndex,
        experiments: ExperimentSet,
        *,
        seed: int,
        clock: Clock,
        decision_s: float = 0.025,
        rest_s: float = 1.0,
    ) -> None:
        """Make the policies.

        Args:
            catalog: All tracks.
            experiments: What runs.
            seed: Of every draw.
            clock: To tell and to measure time.
            decision_s: CPU seconds that a treatment's decisions may take on average.
            rest_s: How long its fallbacks answer if they take more.

        Raises:
            InvalidExperimentsError: If a treatment that serves cannot be served.
        """
        self._catalog = catalog
        self._experiments = experiments
        self._policies = make_policies(experiments)
        self._paces = {
            name: Pace(limit_s=decision_s, rest_s=rest_s, cpu_seconds=clock.cpu_seconds)
            for name in self._policies
        }
        self._seed = seed
        self._clock = clock

    def decide(
        self,
        report: Report,
        state: UserState | None,
        models: Models,
        *,
        explain: bool = False,
        fault: str | None = None,
    ) -> Outcome:
        """Answer a report.

        Args:
            report: The request.
            state: What is stored of its listener.
            models: The model versions being served; the answer uses no other.
            explain: Whether the answer says why; the event never does.
            fault: Why the stored state could not be asked for; the event says so.

        Raises:
            UnknownTrackError: If the catalogue lacks the track.
            ReusedKeyError: If the report's key came before with another report.
            CatalogExhaustedError: If the session has heard everything.
        """
        if report.track not in self._catalog.row_of:
            raise UnknownTrackError(f"track {report.track} is not in the catalogue")
        state = state or UserState()
        if report.key is not None and state.receipt and state.receipt.report.key == report.key:
            return _repeat(report, state, state.receipt)
        started = self._clock.seconds()
        now = self._clock.now()
        session = state.session or Session(make_event_id(now), report.track, 0, ())
        # By the session's start, which its id tells: no session changes treatments.
        assignment = self._experiments.assign(report.user, read_milliseconds(session.session))
        assigned, arm = assignment.names, (assignment.experiment, assignment.treatment.name)
        if report.message == "last":
            answer = Answer(user=report.user, session=session.session, fallback=fault)
            after = None
        else:
            policy = self._policies[arm]
            history = _extend_history(policy, session, report)
            context = self._context(policy, report, session, models)
            if policy.remembers:
                context = self._with_past(context, session, history)
            if explain:
                context = msgspec.structs.replace(context, explain=True)
            rests = not self._paces[arm].begin(started)
            chosen = policy.recommend(context, rests=rests)
            if fault is not None:
                reasons = ",".join(filter(None, (fault, chosen.fallback)))
                chosen = msgspec.structs.replace(chosen, fallback=reasons)
            answer = self._recommendation(report, session, chosen, assigned)
            after = session.play(
                report.track,
                self._catalog.track_ids[chosen.choice.row],
                history=history,
                memory=chosen.choice.memory.pack() if chosen.choice.memory else b"",
            )
        body = _encode(answer)
        latency = max(0.0, self._clock.seconds() - started)
        if report.message == "next":
            self._paces[arm].end(latency, started)
        event = tell_event(report, session, answer, now=now, latency=latency, experiments=assigned)
        return Outcome(body, _state(report, after, body), event)

    def open_session(self, user: int, models: Models) -> OpenSession:
        """Open a session whose state stays with the caller, who reports in order and only once."""
        at_ms = 1000 * self._clock.now().timestamp()
        assignment = self._experiments.assign(user, at_ms)
        policy = self._policies[assignment.experiment, assignment.treatment.name]
        return OpenSession(policy, models, self._catalog, seed=self._seed, user=user)

    def _context(self, policy: Policy, report: Report, session: Session, models: Models) -> Context:
        row_of = self._catalog.row_of
        track = row_of[report.track]
        heard = {row for id_ in session.heard if (row := row_of.get(id_)) is not None}
        heard.add(track)
        return Context(
            user=report.user,
            track=track,
            first=row_of.get(session.first, track),
            heard=heard,
            draw=Draw(self._seed, report.user, session.first, session.position),
            catalog=self._catalog,
            model=policy.find_model(models),
            no_model=models.why_not(policy.model_version),
        )

    def _with_past(self, context: Context, session: Session, history: bytes) -> Context:
        ids, times = read_history(history)
        row_of = self._catalog.row_of
        return msgspec.structs.replace(
            context,
            played=np.array([row_of.get(id_, -1) for id_ in ids.tolist()], np.int32),
            times=times,
            memory=session.memory,
        )

    def _recommendation(
        self, report: Report, session: Session, chosen: Recommendation, experiments: dict[str, str]
    ) -> Answer:
        return Answer(
            user=report.user,
            track=self._catalog.track_ids[chosen.choice.row],
            session=session.session,
            recommender=chosen.recommender,
            propensity=chosen.choice.propensity,
            model_version=chosen.model_version,
            fallback=chosen.fallback,
            experiments=experiments,
            explanation=self._name_anchor(chosen.choice.explanation),
        )

    def _name_anchor(self, explanation: Explanation | None) -> Explanation | None:
        """Put the anchor's track id in the place of its row."""
        if explanation is None or "anchor" not in explanation:
            return explanation
        return explanation | {"anchor": self._catalog.track_ids[int(explanation["anchor"])]}


def _extend_history(policy: Policy, session: Session, report: Report) -> bytes:
    if not policy.remembers:
        return b""
    return append_playback(session.history, report.track, report.time)


def _repeat(report: Report, state: UserState, receipt: Receipt) -> Outcome:
    if receipt.report != report:
        raise ReusedKeyError("this Idempotency-Key came before with another request")
    return Outcome(receipt.answer, state, None)


def _state(report: Report, session: Session | None, answer: bytes) -> UserState | None:
    receipt = None if report.key is None else Receipt(report, answer)
    return UserState(session, receipt) if session or receipt else None
