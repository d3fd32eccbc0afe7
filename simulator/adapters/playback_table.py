"""All playbacks of a run as one Parquet table, a row per playback."""

from pathlib import Path
from types import TracebackType
from typing import Any

from shared.extras import import_extra
from simulator.saved_session import SavedSession

_ROWS_PER_GROUP = 100_000


class TableFileError(ValueError):
    """A table that cannot be written; the message names the file and the fault."""


class PlaybackTable:
    """Writes a table while a run goes on, in bounded memory; use it as a context manager.

    Columns: `day`, `episode`, `user`, `position`, `track`, `time`, and, null where nothing tells,
    `recommender`, `model_version`, `propensity`, `fallback`; `experiments` maps an experiment to
    the user's treatment.
    """

    def __init__(self, path: Path) -> None:
        """Begin the file.

        Raises:
            MissingExtraError: If pyarrow is absent.
            TableFileError: If the file cannot be made.
        """
        purpose = "a Parquet table"
        self._arrow: Any = import_extra("pyarrow", extra="parquet", purpose=purpose)
        parquet: Any = import_extra("pyarrow.parquet", extra="parquet", purpose=purpose)
        self._schema = _make_schema(self._arrow)
        self._rows: dict[str, list[Any]] = {name: [] for name in self._schema.names}
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")
        except OSError as error:
            raise TableFileError(f"{path}: {error.strerror or error}") from error

    def __enter__(self) -> "PlaybackTable":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._flush()
        self._writer.close()

    def write(self, session: SavedSession) -> None:
        """Add a session."""
        n, rows = len(session.playbacks), self._rows
        rows["day"] += [session.day] * n
        rows["episode"] += [session.episode] * n
        rows["user"] += [session.user] * n
        rows["position"] += range(n)
        rows["experiments"] += [list(session.experiments.items())] * n
        for name in _OF_PLAYBACK:
            rows[name] += [getattr(playback, name) for playback in session.playbacks]
        if len(rows["day"]) >= _ROWS_PER_GROUP:
            self._flush()

    def _flush(self) -> None:
        self._writer.write_table(self._arrow.Table.from_pydict(self._rows, schema=self._schema))
        for column in self._rows.values():
            column.clear()


_OF_PLAYBACK = ("track", "time", "recommender", "model_version", "propensity", "fallback")


def _make_schema(arrow: Any) -> Any:
    word = arrow.dictionary(arrow.int32(), arrow.string())
    return arrow.schema(
        [
            ("day", arrow.int32()),
            ("episode", arrow.int64()),
            ("user", arrow.int32()),
            ("position", arrow.int32()),
            ("track", arrow.int32()),
            ("time", arrow.float64()),
            ("recommender", word),
            ("model_version", word),
            ("propensity", arrow.float64()),
            ("fallback", word),
            ("experiments", arrow.map_(arrow.string(), arrow.string())),
        ]
    )
