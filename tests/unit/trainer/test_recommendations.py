"""botify's file is written and read back."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from services.trainer.core.errors import TrainingError
from services.trainer.core.recommendations import encode_recommendations, parse_recommendations
from tests.unit.trainer.logs import make_blocks

CATALOG = make_blocks()


def test_lines_have_botifys_keys_and_track_ids() -> None:
    neighbours = np.full((len(CATALOG), 3), -1, dtype=np.int32)
    neighbours[0] = [2, 1, -1]
    lines = b"".join(encode_recommendations(CATALOG, neighbours)).splitlines()
    assert len(lines) == len(CATALOG)
    assert json.loads(lines[0]) == {
        "artist": "artist 0/0",
        "title": "title 0",
        "track": 1000,
        "recommendations": [1014, 1007],
    }
    assert json.loads(lines[1])["recommendations"] == []


@given(npst.arrays(np.int32, (len(CATALOG), 4), elements=st.integers(0, len(CATALOG) - 1)))
def test_what_is_written_is_read_back(neighbours: np.ndarray) -> None:
    text = b"".join(encode_recommendations(CATALOG, neighbours))
    assert np.array_equal(parse_recommendations(text.splitlines(), CATALOG), neighbours)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b'{"track": 1000, "recommendations": [5]}', "line 1: track 5 is not"),
        (b'\n{"track": 5, "recommendations": [1000]}', "line 2: track 5 is not"),
        (b'{"track": 1000, "recommendations": [-1]}', "line 1"),
        (b"nonsense", "line 1"),
        (b"\xff", "line 1"),
        (b"", "no lines"),
    ],
)
def test_a_bad_line_is_named(text: bytes, fault: str) -> None:
    with pytest.raises(TrainingError, match=fault):
        parse_recommendations(text.split(b"\n"), CATALOG)


def test_null_and_absent_recommendations_are_none() -> None:
    lines = [b'{"track": 1000, "recommendations": null}', b'{"track": 1007, "artist": "x"}']
    assert (parse_recommendations(lines, CATALOG) == -1).all()
