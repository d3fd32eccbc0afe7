"""A binary COPY is parsed whatever its chunks."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.adapters.playback_reader import (
    EPOCH_2000_US,
    SIGNATURE,
    TRAILER,
    CopyParser,
)
from services.trainer.core.errors import TrainingError

INT = st.integers(0, 2**31 - 1)
ROWS = st.lists(
    st.tuples(
        st.binary(min_size=16, max_size=16), INT, INT, INT, st.floats(0, 1), st.integers(0, 2**50)
    ),
    max_size=8,
)


def encode(rows: list[tuple[bytes, int, int, int, float, int]]) -> bytes:
    """Encode rows as Postgres does."""
    body = b"".join(
        struct.pack(
            ">hi16siiiiiiidiq", 6, 16, session, 4, position, 4, track, 4, user, 8, time, 8, at
        )
        for session, position, track, user, time, at in rows
    )
    return SIGNATURE + bytes(8) + body + TRAILER


async def parse(data: bytes, size: int) -> np.ndarray:
    parser = CopyParser()
    for start in range(0, len(data), size):
        await parser.feed(data[start : start + size])
    return parser.finish()


@given(rows=ROWS, size=st.integers(1, 400))
async def test_rows_survive(rows: list[tuple[bytes, int, int, int, float, int]], size: int) -> None:
    parsed = await parse(encode(rows), size)
    assert len(parsed) == len(rows)
    for row, (session, position, track, user, time, at) in zip(parsed, rows, strict=True):
        assert struct.pack(">qq", row["session_high"], row["session_low"]) == session
        assert (row["position"], row["track"], row["user"]) == (position, track, user)
        assert row["time"] == np.float32(time)
        assert row["at"] == at + EPOCH_2000_US


@pytest.mark.parametrize("lost", [1, 2, 30, 75])
async def test_a_copy_cut_short_is_an_error(lost: int) -> None:
    data = encode([(bytes(16), 0, 1, 2, 0.5, 3)])
    with pytest.raises(TrainingError, match="cut short"):
        await parse(data[:-lost], 1000)


async def test_another_format_is_an_error() -> None:
    with pytest.raises(TrainingError, match="binary copy"):
        await parse(b"1\t2\t3\n" * 20, 1000)
