"""`run --until EXPERIMENT`: looks at its analysis now and then, and says when it is decided."""

from collections.abc import Callable
from datetime import datetime

from simulator.adapters.decisions import Analyst, CommandAnalyst, UrlAnalyst
from simulator.adapters.patient_http import PatientClient
from simulator.core.decisions import Verdict, judge, share_alpha
from simulator.days import wait_until_stored
from simulator.settings import Settings


class Decider:
    """Looks a planned number of times; all looks together err as one would.

    An analysis that has a rule for looking again and again decides by itself. Otherwise each look
    is a test of a fixed sample: at the full level, ten looks at an A/A would call it decided one
    time in five. So each gets its share of the level.
    """

    def __init__(
        self,
        settings: Settings,
        experiment: str,
        *,
        alpha: float,
        n_peeks: int,
        most_sessions: int,
        since: datetime,
    ) -> None:
        """Plan.

        Args:
            settings: Where the analysis and the logger are.
            experiment: Its name.
            alpha: Probability that an experiment without effect is called decided, at most.
            n_peeks: Looks, if it never is.
            most_sessions: That the run plays then.
            since: Beginning of the run: what was logged before was not planned with it.
        """
        self._settings = settings
        self._experiment = experiment
        self._level = share_alpha(alpha, n_peeks)
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
            self._experiment, alpha=self._level, since=self._since
        )
        verdict = judge(analysis, metric=self._settings.decision.metric)
        self.is_decided = verdict.is_reached
        return verdict

    def describe(self, verdict: Verdict) -> str:
        """Say how it stands."""
        how = "decided" if verdict.is_reached else "not decided"
        return (
            f"{self._experiment}: {how} after {self._n_sessions:,} of at most "
            f"{self._most_sessions:,} sessions (level {self._level:.3g}): {verdict.reason}"
        )

    def _choose_analyst(self, connect: Callable[[str], PatientClient]) -> Analyst:
        decision = self._settings.decision
        if decision.url is not None:
            return UrlAnalyst(decision.url, connect)
        return CommandAnalyst(decision.command) if decision.command else CommandAnalyst()
