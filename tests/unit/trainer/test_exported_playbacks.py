"""Exported files that cannot be read are named; one that can is read."""

import uuid
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from services.trainer.adapters.exported_playbacks import ExportedPlaybacks
from services.trainer.core.errors import TrainingError
from shared.event_files import SCHEMA, EventFiles

AT = datetime(2026, 3, 10, 12, tzinfo=UTC)
N_EVENTS = 1000


def write_log(folder: Path) -> Path:
    """Export a day of one listener; return its file."""
    values = {
        "event_id": [uuid.UUID(int=i).bytes for i in range(N_EVENTS)],
        "message": ["next"] * N_EVENTS,
        "occurred_at": [AT] * N_EVENTS,
        "user_id": range(N_EVENTS),
        "session_id": [uuid.UUID(int=i).bytes for i in range(N_EVENTS)],
        "position": [0] * N_EVENTS,
        "track_id": range(N_EVENTS),
        "time": [1.0] * N_EVENTS,
        "latency": [0.0] * N_EVENTS,
        "experiments": [[]] * N_EVENTS,
        "stored_at": [AT] * N_EVENTS,
    }
    table = pa.table(
        [
            pa.array(list(values.get(field.name, [None] * N_EVENTS)), storage(field))
            for field in SCHEMA
        ],
        schema=pa.schema([pa.field(field.name, storage(field)) for field in SCHEMA]),
    ).cast(SCHEMA)
    path = Path(EventFiles(str(folder)).path_of(AT.date()))
    path.parent.mkdir(parents=True)
    pq.write_table(table, path)
    return path


def storage(field: pa.Field) -> pa.DataType:
    """Return the type that pyarrow makes arrays of."""
    kind = field.type
    return kind.storage_type if isinstance(kind, pa.BaseExtensionType) else kind


async def read(url: str) -> int:
    log = ExportedPlaybacks(url)
    return len(await log.read(since=None, until=None, watermark=await log.read_watermark()))


async def test_every_event_is_a_playback(tmp_path: Path) -> None:
    write_log(tmp_path)
    assert await read(str(tmp_path)) == N_EVENTS


async def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    path = write_log(tmp_path)
    content = bytearray(path.read_bytes())
    content[: len(content) // 2] = bytes(len(content) // 2)  # the columns, not what describes them
    path.write_bytes(content)
    with pytest.raises(TrainingError, match=str(tmp_path)):
        await read(str(tmp_path))
