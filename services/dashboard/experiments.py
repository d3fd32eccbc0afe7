"""The experiments as the pages and the API read them: computed once for all, kept for seconds."""

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from datetime import datetime
from typing import TypeVar

from analysis.adapters.measurements import DatabaseError
from analysis.core.comparison import UnknownTreatmentError
from services.dashboard.adapters.results import ResultsSource
from services.dashboard.core.results import (
    NoDataError,
    Results,
    State,
    find_serving,
    find_weights,
    list_names,
    make_results,
    state_of,
)
from services.dashboard.refreshed import Known, Refreshed
from shared.experiments import Experiment, ExperimentSet

T = TypeVar("T")
Users = Mapping[str, Mapping[str, int]]
Outcome = Results | NoDataError | UnknownTreatmentError
_FAILURES = (DatabaseError, OSError, TimeoutError)


class UnknownExperimentError(LookupError):
    """An experiment that neither a definition nor an event names."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Listed:
    """An experiment in the list.

    Attributes:
        name: Its name.
        state: How it stands now.
        definition: None if it is over.
        users: Per arm that events name.
    """

    name: str
    state: State
    definition: Experiment | None
    users: Mapping[str, int]


class Experiments:
    """All experiments, defined or logged."""

    def __init__(
        self,
        source: ResultsSource,
        definitions: ExperimentSet,
        *,
        fresh_s: float,
        seconds: Callable[[], float],
        now: Callable[[], datetime],
    ) -> None:
        """Compute nothing yet."""
        self._source = source
        self.definitions = definitions
        self._fresh_s = fresh_s
        self._seconds = seconds
        self._now = now
        self._users = self._refreshed(source.fetch_users_per_arm)
        self._results: dict[str, Refreshed[Outcome]] = {}

    @property
    def serving(self) -> Experiment:
        """Return the experiment whose treatment recommends."""
        return find_serving(self.definitions, self._now())

    async def get_users(self, *, patience_s: float | None = None) -> Known[Users]:
        """Return the users per experiment and arm.

        Raises:
            DatabaseError: If Postgres never answered.
        """
        return await self._users.get(patience_s=patience_s)

    def list(self, users: Users) -> list[Listed]:
        """List the experiments: the serving one first."""
        now = self._now()
        return [
            Listed(
                name=name,
                state=state_of(name, self.definitions, now),
                definition=self.definitions.by_name.get(name),
                users=users.get(name, {}),
            )
            for name in list_names(self.definitions, users, now)
        ]

    async def get_results(self, name: str, *, patience_s: float | None = None) -> Known[Outcome]:
        """Return an experiment's results, or why it has none.

        Raises:
            UnknownExperimentError: If there is no such experiment.
            DatabaseError: If Postgres never answered.
        """
        if name not in self.definitions.by_name:
            users = (await self.get_users()).value or {}
            if name not in users:
                known = ", ".join(list_names(self.definitions, users, self._now()))
                raise UnknownExperimentError(f"no experiment is called {name}; there are: {known}")
        if name not in self._results:
            self._results[name] = self._refreshed(lambda: self._compute(name))
        return await self._results[name].get(patience_s=patience_s)

    async def ping(self) -> None:
        """Return if the database answers.

        Raises:
            DatabaseError: If it does not.
        """
        await self._source.ping()

    async def close(self) -> None:
        """Give up what is being computed."""
        await self._users.close()
        for results in self._results.values():
            await results.close()

    def _refreshed(self, compute: Callable[[], Awaitable[T]]) -> Refreshed[T]:
        return Refreshed(compute, fresh_s=self._fresh_s, seconds=self._seconds, failures=_FAILURES)

    async def _compute(self, name: str) -> Outcome:
        readings = await self._source.fetch_readings(name)
        seen = [arm.treatment for arm in readings.measurements.arms]
        weights = find_weights(self.definitions.by_name.get(name), seen)
        try:
            return await asyncio.to_thread(make_results, readings, weights=weights)
        except (NoDataError, UnknownTreatmentError) as error:
            return error
