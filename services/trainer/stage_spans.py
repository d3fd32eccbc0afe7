"""The stages of a training as spans: each lasts until the next begins."""

import contextlib
from collections.abc import Callable

from services.trainer.order import Message
from shared.tracing import Tracing


class StageSpans:
    """Passes messages on, and makes each stage that they name a span; a context manager."""

    def __init__(self, tracing: Tracing, send: Callable[[Message], None]) -> None:
        """Take who makes the spans, and who gets the messages."""
        self._tracing = tracing
        self._send = send
        self._stage: str | None = None
        self._open = contextlib.ExitStack()

    def __enter__(self) -> "StageSpans":
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def __call__(self, message: Message) -> None:
        """Pass a message on; a stage that is named again goes on."""
        if message.stage is not None and message.stage != self._stage:
            self._open.close()
            self._stage = message.stage
            self._open.enter_context(self._tracing.span(f"training.{message.stage}"))
        self._send(message)
