"""`export --format parquet`: the events, a file per day."""

import argparse
from datetime import UTC, datetime

from analysis.adapters.event_log import count_events_by_day, stream_events
from analysis.adapters.measurements import open_database
from analysis.settings import Settings
from shared.extras import import_extra


async def export(options: argparse.Namespace) -> None:
    """Write the days that have no file yet, or whose file lacks events.

    Raises:
        DatabaseError: If Postgres cannot answer.
        MissingExtraError: If pyarrow or fsspec, or what fsspec needs for the URL, is absent.
        ValueError: If the window is not of whole days, or the URL's protocol is unknown.
        OSError: If a file cannot be written.
    """
    for module in ("pyarrow", "fsspec"):
        import_extra(module, extra="parquet", purpose="a Parquet export")
    # Only here: they need the packages just looked for.
    from analysis.adapters.parquet_log import count_exported, write_day
    from shared.event_files import EventFiles

    since, until = (_check_midnight(bound) for bound in (options.since, options.until))
    files = EventFiles(options.to)
    async with open_database(options.dsn or Settings().postgres_dsn, fresh=False) as connection:
        counts = await count_events_by_day(
            connection, since=since, until=until, share=options.share
        )
        exported = {day: count_exported(files, day) for day in files.days() if day in counts}
        # Events are never changed: as many are the same.
        missing = [day for day, n_events in counts.items() if exported.get(day) != n_events]
        n_written = 0
        for day in missing:
            n_events = await write_day(
                files, day, stream_events(connection, day, share=options.share)
            )
            n_written += n_events
            print(f"{day}  {n_events:>12,} events", flush=True)
    print(
        f"{options.to}: wrote {n_written:,} events of {len(missing):,} days; "
        f"{len(counts) - len(missing):,} days were there"
    )


def _check_midnight(bound: datetime | None) -> datetime | None:
    if bound is not None and bound != bound.astimezone(UTC).replace(
        hour=0, minute=0, second=0, microsecond=0
    ):
        raise ValueError(f"{bound.isoformat()}: files are of whole days, which begin at 00:00 UTC")
    return bound
