"""What logs and traces are told of a report."""

import logging

from shared.edge import access
from shared.events import Event
from shared.tracing import Attributes


def tell_report(route: str, status: int, duration_s: float, event: Event | None) -> None:
    """Log a report, at DEBUG: there are thousands a second, and metrics count them.

    Args:
        route: Its template.
        status: Of the answer.
        duration_s: Until the answer.
        event: That was written; None if none was.
    """
    if access.isEnabledFor(logging.DEBUG):
        extra = {
            "method": "POST",
            "route": route,
            "status": status,
            "duration_ms": round(1000 * duration_s, 3),
            "session": event and str(event.session),
            "event_id": event and str(event.event_id),
        }
        access.debug("answered", extra=extra)


def describe_report(route: str, status: int, event: Event | None) -> Attributes:
    """Return a report's attributes in a trace."""
    attributes: dict[str, str | int] = {
        "http.request.method": "POST",
        "http.route": route,
        "http.response.status_code": status,
    }
    if event is None:
        return attributes
    known: dict[str, str | int | None] = {
        "segue.event_id": str(event.event_id),
        "segue.session": str(event.session),
        "segue.position": event.position,
        "segue.recommender": event.recommender,
        "segue.model_version": event.model_version,
        "segue.fallback": event.fallback,
    }
    known |= {f"segue.treatment.{name}": arm for name, arm in event.experiments.items()}
    return attributes | {name: value for name, value in known.items() if value is not None}
