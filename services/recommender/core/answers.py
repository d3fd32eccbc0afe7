"""What a listener is answered, and the event that tells of it."""

from datetime import datetime
from uuid import UUID

import msgspec

from services.recommender.core.sessions import Report, Session
from shared.events import Event, make_event_id, truncate_to_milliseconds


class Answer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of an answer; botify's clients read the first two fields.

    Attributes:
        user: Listener id.
        track: Recommended track; absent after `last`.
        session: Session id.
        recommender: Policy that chose the track.
        propensity: P(track | context) under that policy.
        model_version: Model version that it read, if any.
        fallback: Why the treatment's own recommender did not answer.
        experiments: Treatment per running experiment.
        explanation: Why this track, if the request asked: `pool`, how many tracks the recommender
            looks at; `heard` and `capped`, how many of them are ruled out because the session has
            had them or enough of their artist; `candidates`, how many were compared; `rank`, the
            track's place in the pool; `anchor`, the track that the pool belongs to. `session` adds
            `score`, the expected time before the `discount` for earlier tracks of the artist, and
            `uncertainty`, the standard deviation of the score's logit that comes from the
            session's taste.
    """

    user: int
    track: int | None = None
    session: UUID
    recommender: str | None = None
    propensity: float | None = None
    model_version: str | None = None
    fallback: str | None = None
    experiments: dict[str, str] = {}
    explanation: dict[str, int | float] | None = None


def tell_event(
    report: Report,
    session: Session,
    answer: Answer,
    *,
    now: datetime,
    latency: float,
    experiments: dict[str, str],
) -> Event:
    """Tell a request and its answer as an event.

    Args:
        report: The request.
        session: Before it.
        answer: To it.
        now: When it came.
        latency: Of the decision, in seconds.
        experiments: Treatment per running experiment.
    """
    return Event(
        event_id=make_event_id(now),
        message=report.message,
        timestamp=truncate_to_milliseconds(now),
        user=report.user,
        session=session.session,
        position=session.position,
        track=report.track,
        time=report.time,
        latency=latency,
        recommendation=answer.track,
        recommender=answer.recommender,
        model_version=answer.model_version,
        propensity=answer.propensity,
        fallback=answer.fallback,
        experiments=experiments,
    )
