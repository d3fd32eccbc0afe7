"""What the commands share: options of the data, and how a fault is said."""

import argparse
import sys
from datetime import UTC, datetime

FAILED = 1
WRONG_USAGE = 2


def add_data_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare which events, of which database."""
    parser.add_argument("--since", type=time, metavar="T", help="first time, ISO 8601 (UTC)")
    parser.add_argument("--until", type=time, metavar="T", help="time after the last, ISO 8601")
    parser.add_argument("--dsn", help="of Postgres (default: SEGUE_POSTGRES_DSN)")


def fail(message: str, *, code: int) -> int:
    """Say what is wrong, and return the exit code."""
    print(f"analysis: {message}", file=sys.stderr)
    return code


def tell_progress(progress: str) -> None:
    """Say why one waits."""
    print(f"analysis: summing up new events: {progress}", file=sys.stderr, flush=True)


def explain(error: OSError) -> str:
    """Say which file or place failed, and why."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error)


def seed(text: str) -> int:
    """Parse what generators take as a seed."""
    number = int(text) if text.isdecimal() else -1
    if number < 0:
        raise argparse.ArgumentTypeError(f"{text!r} is no seed: 0, 1, 2, ...")
    return number


def time(text: str) -> datetime:
    """Parse a time; without a zone it is UTC."""
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is no ISO 8601 time") from None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


def level(text: str) -> float:
    """Parse a probability, neither 0 nor 1."""
    try:
        parsed = float(text)
    except ValueError:
        parsed = 0.0
    if not 0 < parsed < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not between 0 and 1")
    return parsed
