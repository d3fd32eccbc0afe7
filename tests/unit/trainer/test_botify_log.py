"""botify's log is cut into sessions where a user's `last` stands."""

import gzip
import itertools
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.trainer.adapters.botify_log import load_botify_log, parse_botify_log
from services.trainer.core.errors import TrainingError
from services.trainer.core.playbacks import make_log


def line(message: str, timestamp: float, user: int, track: int, time: float) -> bytes:
    """Make a line with all of botify's keys."""
    return json.dumps(
        {
            "message": message,
            "timestamp": timestamp,
            "user": user,
            "track": track,
            "time": time,
            "latency": 0.001,
            "recommendation": 5 if message == "next" else None,
            "experiments": {"AA": "C"},
        }
    ).encode()


def test_sessions_of_users_that_listen_at_once_are_told_apart() -> None:
    lines = [
        line("next", 1, 7, 70, 1.0),
        line("next", 2, 8, 80, 1.0),
        line("last", 3, 7, 71, 0.5),
        line("next", 4, 7, 72, 1.0),
        line("last", 5, 8, 81, 0.25),
        line("last", 6, 7, 73, 0.0),
    ]
    log = make_log(parse_botify_log(lines))
    assert log.sessions.tolist() == [0, 0, 1, 1, 2, 2]
    assert log.positions.tolist() == [0, 1, 0, 1, 0, 1]
    assert log.tracks.tolist() == [70, 71, 80, 81, 72, 73]
    assert log.times.tolist() == [1.0, 0.5, 1.0, 0.25, 1.0, 0.0]
    assert (log.at.min(), log.at.max()) == (1_000, 6_000)


@given(st.lists(st.tuples(st.integers(0, 3), st.booleans()), max_size=40))
def test_each_playback_counts_once_and_a_session_ends_with_last(
    events: list[tuple[int, bool]],
) -> None:
    lines = [
        line("last" if ends else "next", at, user, at, 0.5)
        for at, (user, ends) in enumerate(events)
    ]
    playbacks = parse_botify_log(lines)
    assert sorted(playbacks["track"].tolist()) == list(range(len(events)))
    ends_of = {at: ends for at, (_, ends) in enumerate(events)}
    for before, after in itertools.pairwise(playbacks):
        continues = before["user"] == after["user"] and not ends_of[int(before["track"])]
        assert (before["session_low"] == after["session_low"]) == continues
        assert after["position"] == (before["position"] + 1 if continues else 0)


@pytest.mark.parametrize(
    "bad",
    [
        b"nonsense",
        b"\xff\xfe",
        line("next", 1, -1, 1, 0.5),
        line("next", 1, 1, 1, 1.5),
        line("next", 1e30, 1, 1, 0.5),
        line("play", 1, 1, 1, 0.5),
    ],
)
def test_a_bad_line_is_named(tmp_path: Path, bad: bytes) -> None:
    path = tmp_path / "data.json"
    path.write_bytes(line("next", 1, 1, 1, 1.0) + b"\n\n" + bad + b"\n")
    with pytest.raises(TrainingError, match=r"data\.json: line 3"):
        load_botify_log(path)


def test_an_absent_log_is_named(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="absent"):
        load_botify_log(tmp_path / "absent")


def test_a_compressed_log_is_the_same_and_a_damaged_one_is_named(tmp_path: Path) -> None:
    lines = b"\n".join([line("next", 1, 7, 70, 1.0), line("last", 3, 7, 71, 0.5)])
    packed = gzip.compress(lines)
    path = tmp_path / "data.json.gz"
    path.write_bytes(packed)
    assert load_botify_log(path)["track"].tolist() == [70, 71]
    for damaged in (b"plain", packed[:-12], packed[:10] + b"\xff" + packed[11:]):
        path.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"data\.json\.gz: "):
            load_botify_log(path)
