"""`run --until EXPERIMENT`: looks at its analysis now and then, and says when it is decided."""

from collections.abc import Callable
from datetime import datetime

from simulator.adapters.decisions import Analyst, CommandAnalyst, UrlAnalyst
from simulator.adapters.patient_http import PatientClient
from simulator.core.decisions import Verdict, judge
from simulator.days import wait_until_stored
from simulator.settings import Settings


class Decider:
    """Looks as often as it is told to: the analysis has a rule that holds at every look."""

    def __init__(
        self,
        settings: Settings,
        experiment: str,
        *,
        alpha: float,
        most_sessions: int,
        since: datetime,
    ) -> None:
        """Plan.

        Args:
            settings: Where the analysis and the logger are.
            experiment: Its name.
            alpha: Probability that an experiment without effect is called decided, at most.
            most_sessions: That the run plays if it never is.
            since: Beginning of the run: what was logged before was not planned with it.
        """
        self._settings = settings
        self._experiment = experiment
        self._alpha = alpha
        self._most_sessions = most_sessions
        self._since = since
        self._n_sessions = 0
        self.is_decided = False

    async def look(self, n_sessions: int, *, say: Callable[[str], None]) -> Verdict:
        """Look once every event is stored.

        Args:
            n_sessions: Played since the last look.
            say: Told when a service is away.

        Raises:
            ServiceError: If the logger or the analysis fails.
        """
        self._n_sessions += n_sessions

        def connect(url: str) -> PatientClient:
            return PatientClient(
                url,
                timeout_s=self._settings.recommender.timeout_s,
                patience_s=self._settings.recommender.patience_s,
                max_connections=1,
                notify=say,
            )

        async with connect(self._settings.logger.url) as logger:
            await wait_until_stored(logger, timeout_s=self._settings.trainer.follow_s)
        analysis = await self._choose_analyst(connect).analyse(
            self._experiment,
            metric=self._settings.decision.metric,
            alpha=self._alpha,
            since=self._since,
        )
        verdict = judge(analysis)
        self.is_decided = verdict.is_reached
        return verdict

    def describe(self, verdict: Verdict) -> str:
        """Say how it stands."""
        how = "decided" if verdict.is_reached else "not decided"
        return (
            f"{self._experiment}: {how} after {self._n_sessions:,} of at most "
            f"{self._most_sessions:,} sessions (level {self._alpha:.3g}): {verdict.reason}"
        )

    def _choose_analyst(self, connect: Callable[[str], PatientClient]) -> Analyst:
        decision = self._settings.decision
        if decision.url is not None:
            return UrlAnalyst(decision.url, connect)
        return CommandAnalyst(decision.command) if decision.command else CommandAnalyst()
