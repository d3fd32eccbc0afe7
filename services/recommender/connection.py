"""A client's connection: HTTP/1.1, with limits on what it may send and how long it may take.

uvicorn's protocol on httptools, with two differences. A request is bounded in size and time, from
its first byte on. And a report, which comes once per playback, is handed over with nothing of ASGI
in between, whose messages, scope and events cost as much as the decision.
"""

import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, cast

import httptools
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from services.recommender.api import Application, Reply
from services.recommender.connection_watch import Phase
from services.recommender.parsing import MAX_BODY, too_large
from services.recommender.received_report import ANSWERED, ReceivedReport
from shared.http import ProblemError

logger = logging.getLogger(__name__)

MAX_HEAD = 16 * 1024

# uvicorn's, without which connections are not these, or something stands between.
SERVER_OPTIONS: Mapping[str, Any] = MappingProxyType(
    {
        "http": "services.recommender.connection:Connection",
        "ws": "none",
        "access_log": False,
        "proxy_headers": False,  # nothing here depends on who asks
        "server_header": False,
        "log_config": None,
    }
)


class _RefusedError(Exception):
    """The rest of what the client sent is not looked at."""


class Connection(HttpToolsProtocol):
    """One client's connection."""

    phase = Phase.IDLE
    since = 0.0
    _is_in_message = False
    _has_head = False
    _n_unread = 0  # bytes that came for a head that is not complete

    def connection_made(self, transport: Any) -> None:
        """Begin to watch it."""
        super().connection_made(transport)
        self._application = cast("Application", self.app)
        self._watch = self._application.watch
        self._watch.connections.add(self)
        self._enter(Phase.IDLE)

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._watch.connections.discard(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self.phase is Phase.LINGERING:
            return
        if self.phase is Phase.IDLE:
            self._enter(Phase.RECEIVING)
        if not self._has_head:
            self._n_unread += len(data)
        self._parse(data)
        if self._n_unread > MAX_HEAD and not self._has_head:
            self._refuse(_head_too_large())

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            pass  # we offer none: the request was served as if it had not asked
        except httptools.HttpParserCallbackError as error:
            if not isinstance(error.__context__, _RefusedError):
                logger.exception("a request could not be received")
                self.transport.abort()
        except httptools.HttpParserError as error:
            self._refuse(ProblemError(400, "Malformed request", str(error)))

    def on_message_begin(self) -> None:
        """Begin a request."""
        self._is_in_message = True
        self.url = b""
        self.headers = []
        self.expect_100_continue = False

    def on_headers_complete(self) -> None:
        """Take a request whose head is complete."""
        n_read, self._n_unread, self._has_head = self._n_unread, 0, True
        if n_read > MAX_HEAD and self._measure_head() > MAX_HEAD:
            self._refuse_now(_head_too_large())
        report = self._make_report()
        for name, value in self.headers:
            if name == b"content-length" and int(value) > MAX_BODY:
                self._refuse_now(too_large(), report)
        if report is None:
            self._take_for_asgi()
        else:
            report.keep_alive = (
                self.parser.get_http_version() != "1.0" and self.parser.should_keep_alive()
            )
            self.cycle = cast("Any", report)

    def on_body(self, body: bytes) -> None:
        """Take a part of a body."""
        report: Any = self.cycle
        if not isinstance(report, ReceivedReport):
            super().on_body(body)
            return
        report.body += body
        if len(report.body) > MAX_BODY:
            self._refuse_now(too_large(), report)

    def on_message_complete(self) -> None:
        """Answer a request, which is complete."""
        self._is_in_message = self._has_head = False
        report: Any = self.cycle
        if isinstance(report, ReceivedReport):
            self._enter(Phase.ANSWERING)
            task = self.loop.create_task(self._answer(report))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)
            return
        if not report.response_complete:
            self._enter(Phase.ANSWERING)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request, which may have come already."""
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._enter(Phase.ANSWERING)
            self._start_asgi_task(cycle, app)
        else:
            self._enter(Phase.RECEIVING if self._is_in_message else Phase.IDLE)

    def give_up(self) -> None:
        """End it: the client was waited for long enough."""
        report: Any = self.cycle
        is_report = isinstance(report, ReceivedReport)
        if self.phase is Phase.IDLE:
            self.transport.close()
        elif self.phase is Phase.RECEIVING and (is_report or not self._is_busy()):
            problem = ProblemError(408, "Request timeout", "the request did not come in time")
            self._refuse(problem, report if is_report else None)
        else:
            self.transport.abort()

    def _is_busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since = self._watch.seconds()

    def _measure_head(self) -> int:
        return len(self.url) + sum(len(name) + len(value) for name, value in self.headers)

    def _make_report(self) -> ReceivedReport | None:
        """Recognise a report; None if ASGI is to answer: another request, or one in the way."""
        reports = self._application.reports.get(self.url[:5].decode("latin-1"))
        if reports is None or self._is_busy() or self.expect_100_continue:
            return None
        path, _, query = self.url[5:].partition(b"?")
        user = path[1:]
        is_odd = path[:1] != b"/" or not user or b"/" in user or b"%" in user
        if is_odd or self.parser.get_method() != b"POST":
            return None
        return ReceivedReport(reports, user.decode("latin-1"), query, self.headers)

    def _take_for_asgi(self) -> None:
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.expect_100_continue = url, expects
        self.headers[:] = headers
        super().on_headers_complete()

    async def _answer(self, report: ReceivedReport) -> None:
        reply = await report.reports.answer(report.user, report.query, report.headers, report.body)
        if self.flow.write_paused:
            await self.flow.drain()
        if self.cycle is cast("Any", report):
            self.cycle = cast("Any", ANSWERED)
        if not self.transport.is_closing():
            self.transport.write(self._encode(reply, keep_alive=report.keep_alive))
            if not report.keep_alive:
                self.transport.close()
        self.on_response_complete()

    def _refuse_now(self, problem: ProblemError, report: ReceivedReport | None = None) -> None:
        """Refuse from within the parser, which is stopped."""
        self._refuse(problem, report)
        raise _RefusedError

    def _refuse(self, problem: ProblemError, report: ReceivedReport | None = None) -> None:
        """Answer and say goodbye; reading on lets the client see it, who may still be sending."""
        if self.phase is Phase.ANSWERING:  # an earlier request: answers do not overtake
            self.transport.abort()
            return
        reply = report.reports.refuse(problem) if report else self._application.refuse(problem)
        self.cycle = cast("Any", ANSWERED)
        self._enter(Phase.LINGERING)
        if not self.transport.is_closing():
            self.transport.write(self._encode(reply, keep_alive=False))
            self.transport.write_eof()

    def _encode(self, reply: Reply, *, keep_alive: bool) -> bytes:
        lines = [STATUS_LINE[reply.status]]
        for name, value in (*self.server_state.default_headers, *reply.headers):
            lines += (name, b": ", value, b"\r\n")
        if not keep_alive:
            lines.append(b"connection: close\r\n")
        lines += (b"\r\n", reply.body)
        return b"".join(lines)


def _head_too_large() -> ProblemError:
    detail = f"the request's line and headers are larger than {MAX_HEAD} bytes"
    return ProblemError(431, "Request header fields too large", detail)
