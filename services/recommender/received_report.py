"""A report in the place of uvicorn's cycle of a request and its answer."""

from services.recommender.api import Reports
from services.recommender.parsing import Headers


class _Event:
    def set(self) -> None:
        """Wake nobody: no task waits for the parts of a report."""


class ReceivedReport:
    """A report on its way in and out; what uvicorn's protocol reads of a cycle, it finds here."""

    __slots__ = ("body", "disconnected", "headers", "keep_alive", "query", "reports", "user")

    response_complete = False
    message_event = _Event()

    def __init__(self, reports: Reports, user: str, query: bytes, headers: Headers) -> None:
        """Take its head; its body is to come."""
        self.reports = reports
        self.user = user
        self.query = query
        self.headers = headers
        self.body = b""
        self.keep_alive = True
        self.disconnected = False


class _Answered:
    """Where a report was, once it is answered."""

    response_complete = True
    message_event = _Event()
    disconnected = False


ANSWERED = _Answered()
