"""Kinds of options, and options that nothing would read."""

import argparse
import math
import re


class UsageError(ValueError):
    """Options that do not go together; the message names them."""


def refuse_idle(arguments: argparse.Namespace, *names: str, unless: str, is_met: bool) -> None:
    """Refuse options that were given and would not be read.

    Args:
        arguments: Of the command; an option that was not given is None or False.
        names: Of the options.
        unless: What makes them count, as said to the user.
        is_met: Whether that is so.

    Raises:
        UsageError: If one was given all the same.
    """
    given = [f"--{name}" for name in names if getattr(arguments, name) not in (None, False)]
    if given and not is_met:
        raise UsageError(f"{' and '.join(given)} {'take' if given[1:] else 'takes'} {unless}")


def positive(text: str) -> int:
    """Parse a whole number above 0."""
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def rate(text: str) -> float:
    """Parse a number above 0."""
    if not 0 < (number := float(text)) < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not positive")
    return number


def level(text: str) -> float:
    """Parse a probability, neither 0 nor 1."""
    if not 0 < (number := float(text)) < 1:
        raise argparse.ArgumentTypeError(f"{text} is not between 0 and 1")
    return number


def http_url(text: str) -> str:
    """Take the address of a service."""
    if not re.match("https?://[^/]", text):
        raise argparse.ArgumentTypeError(f"{text!r} does not begin with http:// or https://")
    return text
