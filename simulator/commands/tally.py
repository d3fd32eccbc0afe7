"""What a day of a live run has come to so far, whatever happens next."""

import time
from array import array

import msgspec
import numpy as np

from shared.catalog import Catalog
from simulator.adapters.pictures import Curve
from simulator.adapters.progress import RunProgress
from simulator.commands.output import Recording
from simulator.commands.report import OpenLoop
from simulator.core.latency import summarise_latency
from simulator.core.summary import Summary
from simulator.live import Watch
from simulator.results import Result, Served, summarise_results
from simulator.saved_session import save_result


class Tally:
    """Counts a day's results, records them and shows the reward so far.

    Attributes:
        day: From 1.
        results: Of finished episodes, without their playbacks, in order of finishing.
    """

    def __init__(
        self, day: int, *, catalog: Catalog, recording: Recording, by: str | None = None
    ) -> None:
        """Begin a day.

        Args:
            day: From 1.
            catalog: Of the world.
            recording: Gets each session.
            by: Experiment whose treatments are told apart; None: the first that answers name.
        """
        self.day = day
        self._by = by
        self.results: list[Result] = []
        self._catalog = catalog
        self._recording = recording
        self._reward = 0.0
        self._begun_s = time.monotonic()
        self._starts_s, self._steps_s = array("d"), array("d")

    @property
    def records(self) -> bool:
        """Whether results are to carry their playbacks."""
        return self._recording.is_on

    def add(self, result: Result, progress: RunProgress) -> None:
        """Count a result."""
        if result.playbacks:
            self._recording.write(save_result(result, self._catalog, day=self.day))
            result = msgspec.structs.replace(result, playbacks=())
        self.results.append(result)
        self._reward += result.time
        progress.advance(1, f"mean reward {self._reward / len(self.results):.3f}")

    def add_waits(self, watch: Watch) -> None:
        """Count how long answers took."""
        self._starts_s += watch.starts_s
        self._steps_s += watch.steps_s

    def summarise(self) -> Summary:
        """Summarise the day."""
        return summarise_results(self.results)

    def summarise_parts(self) -> dict[str, Summary]:
        """Summarise the day by treatment."""
        return {name: summarise_results(results) for name, results in self._parts().items()}

    def make_curves(self) -> list[Curve]:
        """Return the day's times, by treatment."""
        return [
            Curve(
                self.day,
                name,
                np.array([r.time for r in sorted(results, key=lambda result: result.episode)]),
            )
            for name, results in sorted(self._parts().items())
        ]

    def _parts(self) -> dict[str, list[Result]]:
        parts: dict[str, list[Result]] = {}
        for result in self.results:
            parts.setdefault(self._name(result.first), []).append(result)
        return parts

    def _name(self, first: Served | None) -> str:
        """Name the treatment of a session: its recommender may be a fallback."""
        if first is None:
            return "unknown"
        experiment = self._by or next(iter(first.experiments), None)
        if experiment is None:
            return first.recommender or "unknown"
        return f"{experiment} {first.experiments.get(experiment, 'outside')}"

    def summarise_open_loop(self, rate: float) -> OpenLoop:
        """Summarise how a service kept up with a rate of sessions per second."""
        return OpenLoop(
            due_per_s=rate,
            played_per_s=len(self.results) / (time.monotonic() - self._begun_s),
            starts=summarise_latency(np.frombuffer(self._starts_s)),
            steps=summarise_latency(np.frombuffer(self._steps_s)),
        )
