"""A body of newline-delimited JSON, cut into numbered payloads."""

from services.logger.core.validation import Received


def split_lines(body: bytes) -> list[Received]:
    """Cut a body into its lines, numbered from 1; blank ones are left out."""
    return [
        Received(number, line)
        for number, raw in enumerate(body.split(b"\n"), start=1)
        if (line := raw.strip())
    ]
