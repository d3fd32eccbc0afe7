"""Where an experiment's listeners are read: from a table, or summed up of days or of events."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time

# $1 experiment, $2 since, $3 until.
STORED = """(
    SELECT * FROM experiment_listeners
    WHERE experiment = $1 AND $2::date IS NULL AND $3::date IS NULL
)"""
OF_DAYS = """experiment_listeners_of_days(
    $1, coalesce($2::date, '-infinity'), coalesce($3::date, 'infinity')
)"""
OF_EVENTS = """experiment_listeners_between(
    $1, coalesce($2::timestamptz, '-infinity'), coalesce($3::timestamptz, 'infinity')
)"""


@dataclass(frozen=True)
class Listeners:
    """A source of rows as those of the table experiment_listeners.

    Attributes:
        source: SQL, to select from; it takes the arguments $1, the experiment, $2 and $3.
        bounds: These two.
    """

    source: str
    bounds: tuple[date | None, date | None] | tuple[datetime | None, datetime | None]

    def complete(self, query: str) -> str:
        """Put the source where a query has `{listeners}`."""
        return query.format(listeners=self.source)


def choose_listeners(*, since: datetime | None, until: datetime | None) -> Listeners:
    """Choose the cheapest source that has what was heard at since <= time < until.

    Whole days, UTC, have the sessions that begin on them; other bounds cut sessions.
    """
    if since is None and until is None:
        return Listeners(STORED, (None, None))
    if _is_midnight(since) and _is_midnight(until):
        return Listeners(OF_DAYS, (_day(since), _day(until)))
    return Listeners(OF_EVENTS, (since, until))


def _is_midnight(moment: datetime | None) -> bool:
    return moment is None or moment.astimezone(UTC).time() == time.min


def _day(moment: datetime | None) -> date | None:
    return None if moment is None else moment.astimezone(UTC).date()
