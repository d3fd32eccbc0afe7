"""botify's `tracks_with_recs` as the policy of an off-policy estimate."""

from pathlib import Path

import numpy as np
import pytest

from analysis.adapters.models import ModelError, load_neighbours
from analysis.core.exposures import Tracks

TRACKS = Tracks(np.array([10, 20, 30]), np.zeros(3, np.int64), np.full(3, -1))


def read(tmp_path: Path, text: str) -> list[list[int]]:
    path = tmp_path / "tracks_with_recs.json"
    path.write_text(text)
    neighbours = load_neighbours(path, TRACKS).neighbours
    assert neighbours is not None
    rows: list[list[int]] = neighbours.tolist()
    return rows


def test_tracks_without_recommendations_have_none(tmp_path: Path) -> None:
    lines = '{"track": 20, "recommendations": [30, 10]}\n{"track": 10, "recommendations": []}'
    assert read(tmp_path, lines) == [[-1, -1], [2, 0], [-1, -1]]
    assert read(tmp_path, '{"track": 10, "recommendations": []}') == [[-1], [-1], [-1]]


def test_what_is_wrong_is_told_by_line(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"line 2: the catalogue has no track 40"):
        read(
            tmp_path, '{"track": 10, "recommendations": []}\n{"track": 20, "recommendations": [40]}'
        )
    with pytest.raises(ModelError, match="no lines"):
        read(tmp_path, "")
