"""Asks for the analysis of an experiment: a URL, or a command that prints it."""

import asyncio
import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from simulator.adapters.patient_http import PatientClient, ServiceError
from simulator.core.decisions import Analysis

_EXCERPT = 500
DEFAULT_COMMAND = (
    *("{python}", "-m", "analysis", "{experiment}", "--format", "json"),
    *("--metric", "{metric}", "--alpha", "{alpha}", "--since", "{since}"),
)


class Analyst(Protocol):
    """Whoever analyses experiments."""

    async def analyse(
        self, experiment: str, *, metric: str, alpha: float, since: datetime
    ) -> Analysis:
        """Analyse an experiment as of now.

        Args:
            experiment: Its name.
            metric: That decides.
            alpha: Error of all looks together.
            since: Time of the first event that counts, UTC.

        Raises:
            ServiceError: If there is no analysis to be had.
        """
        ...


class CommandAnalyst:
    """Runs a command that prints the analysis as JSON."""

    def __init__(self, command: Sequence[str] = DEFAULT_COMMAND) -> None:
        """Take its words; `{python}` and what `DecisionSettings` names are filled in."""
        self._command = command

    async def analyse(
        self, experiment: str, *, metric: str, alpha: float, since: datetime
    ) -> Analysis:
        """Run the command."""
        values = _fill(experiment, metric=metric, alpha=alpha, since=since)
        words = [word.format(python=sys.executable, **values) for word in self._command]
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
            )
        except OSError as error:
            raise ServiceError(f"{' '.join(words)}: {error.strerror}") from error
        out, err = await process.communicate()
        if process.returncode != 0:
            said = " ".join((err or out).decode(errors="replace").split())[-_EXCERPT:]
            raise ServiceError(f"{' '.join(words)}: exited with {process.returncode}: {said}")
        return _decode(" ".join(words), out)


class UrlAnalyst:
    """Gets the analysis from a URL."""

    def __init__(self, url: str, connect: Callable[[str], PatientClient]) -> None:
        """Take a URL, whose `{experiment}`, `{metric}`, `{alpha}` and `{since}` are filled in.

        Args:
            url: Of the analysis.
            connect: Makes a client of a URL.
        """
        self._url = url
        self._connect = connect

    async def analyse(
        self, experiment: str, *, metric: str, alpha: float, since: datetime
    ) -> Analysis:
        """Get it."""
        url = self._url.format(**_fill(experiment, metric=metric, alpha=alpha, since=since))
        async with self._connect(url) as client:
            answer = await client.get("")
        return _decode(url, answer.content)


def _fill(experiment: str, *, metric: str, alpha: float, since: datetime) -> dict[str, str]:
    # Z and not +00:00: a plus is a blank in a URL.
    at = since.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return {"experiment": experiment, "metric": metric, "alpha": f"{alpha:.6g}", "since": at}


def _decode(source: str, content: bytes) -> Analysis:
    try:
        return msgspec.json.decode(content, type=Analysis)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        shown = " ".join(content.decode(errors="replace").split())[:_EXCERPT]
        raise ServiceError(f"{source}: not an analysis ({error}): {shown}") from error
