"""Import a log of botify's, or an export: each line once, however often it comes."""

import argparse
import dataclasses
import itertools
import sys
from collections.abc import Iterator

from analysis.adapters.botify_log import open_input
from analysis.adapters.logger_client import LoggerClient, LoggerError, Receipt, open_client
from analysis.commands.options import FAILED, fail
from analysis.core.botify_log import make_events, read_log
from analysis.settings import Settings
from shared.events import Event, encode_event

EVENTS_AT_ONCE = 5000
BAD_AT_ONCE = 400  # of up to 64 KB: less than a request may have
MOST_FAULTS = 20


@dataclasses.dataclass
class Total:
    """What became of the lines.

    Attributes:
        stored: Events that are new.
        duplicates: Lines that were there already, or twice in the file.
        rejected: Lines that are no events; the logger keeps them as dead letters.
        faults: Some of these, and why.
    """

    stored: int = 0
    duplicates: int = 0
    rejected: int = 0
    faults: list[tuple[int, str]] = dataclasses.field(default_factory=list)

    def add(self, receipt: Receipt) -> None:
        """Add what became of a request's lines."""
        self.stored += receipt.stored
        self.duplicates += receipt.duplicates
        self.rejected += receipt.rejected


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command line."""
    parser.add_argument("file", metavar="FILE", help="of JSON lines, .gz, or - for standard input")
    parser.add_argument("--logger", metavar="URL", help="of the logger (SEGUE_LOGGER_URL)")


def run(options: argparse.Namespace) -> int:
    """Send the file's lines to the logger; 1 if some are no events, or not all were taken."""
    settings = Settings()
    total = Total()
    try:
        with (
            open_input(options.file) as data,
            open_client(options.logger or settings.logger_url, settings) as client,
        ):
            _send_all(data, LoggerClient(client), total)
    except LoggerError as error:
        stored = f"{total.stored:,} events stored so far; sending all again stores none twice"
        return fail(f"{error} ({stored})", code=FAILED)
    except OSError as error:
        return fail(f"{error.filename or options.file}: {error.strerror or error}", code=FAILED)
    return _tell(options.file, total)


def _send_all(data: bytes, logger: LoggerClient, total: Total) -> None:
    log = read_log(data)
    n_events = 0
    for batch in _batched(make_events(data, log)):
        n_events += len(batch)
        receipt = logger.send([encode_event(event) for _, event in batch])
        total.add(receipt)
        total.faults += [(batch[r.line - 1][0], r.reason) for r in receipt.reasons]
    total.duplicates += len(log.rows) - n_events
    # As they came, so that nothing is lost: the logger finds no event in them either.
    for begin in range(0, len(log.bad), BAD_AT_ONCE):
        total.add(logger.send([line.text for line in log.bad[begin : begin + BAD_AT_ONCE]]))
    total.faults += [(line.number, line.reason) for line in log.bad]


def _batched(events: Iterator[tuple[int, Event]]) -> Iterator[list[tuple[int, Event]]]:
    while batch := list(itertools.islice(events, EVENTS_AT_ONCE)):
        yield batch


def _tell(file: str, total: Total) -> int:
    for number, reason in sorted(total.faults)[:MOST_FAULTS]:
        print(f"{file}:{number}: {reason}", file=sys.stderr)
    n_told = min(len(total.faults), MOST_FAULTS)
    if total.rejected > n_told:
        print(f"{file}: and {total.rejected - n_told:,} more lines", file=sys.stderr)
    print(
        f"{file}: stored {total.stored:,} events; {total.duplicates:,} were there; "
        f"{total.rejected:,} lines are no events"
        + (", kept as dead letters of the logger" if total.rejected else "")
    )
    return FAILED if total.rejected else 0
