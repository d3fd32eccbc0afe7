import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from analysis.core.botify_log import (
    SESSION_TIMEOUT_MS,
    Line,
    encode_lines,
    make_events,
    read_log,
)
from shared.events import Event, validate_event

AT = 1_700_000_000_000


def make_line(user: int = 1, at: int = AT, message: str = "next", **changes: Any) -> dict[str, Any]:
    recommendation = 5 if message == "next" else None
    return {
        "message": message,
        "timestamp": at,
        "user": user,
        "track": 3,
        "time": 0.5,
        "latency": 0.001,
        "recommendation": recommendation,
        "experiments": {"AA": "C"},
    } | changes


def write(*lines: dict[str, Any]) -> bytes:
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def read(data: bytes) -> list[Event]:
    log = read_log(data)
    assert not log.bad
    return [event for _, event in make_events(data, log)]


def test_a_line_becomes_an_event() -> None:
    (event,) = read(write(make_line()))
    validate_event(event)
    assert event.timestamp.isoformat() == "2023-11-14T22:13:20+00:00"
    assert (event.message, event.user, event.track, event.time) == ("next", 1, 3, 0.5)
    assert (event.latency, event.recommendation) == (0.001, 5)
    assert (event.position, event.experiments) == (0, {"AA": "C"})
    assert (event.recommender, event.propensity) == (None, None)


def test_last_ends_a_session_and_so_does_a_long_silence() -> None:
    silence = SESSION_TIMEOUT_MS
    events = read(
        write(
            make_line(at=AT),
            make_line(at=AT + 1000, message="last"),
            make_line(at=AT + 2000),
            make_line(at=AT + 2000 + silence),
            make_line(at=AT + 2001 + 2 * silence),
        )
    )
    assert [event.position for event in events] == [0, 1, 0, 1, 0]
    sessions = [event.session for event in events]
    assert sessions[0] == sessions[1] != sessions[2] == sessions[3] != sessions[4]
    assert len(set(sessions)) == 3


def test_users_have_sessions_of_their_own_whatever_the_order_of_lines() -> None:
    lines = [make_line(user, AT + 1000 * n) for n in range(3) for user in (1, 2)]
    one, other = read(write(*lines)), read(write(*reversed(lines)))
    assert one == other
    assert [(e.user, e.position) for e in one] == [
        (user, position) for user in (1, 2) for position in range(3)
    ]


def test_a_line_that_is_there_twice_is_one_event() -> None:
    lines = [make_line(at=AT), make_line(at=AT + 1), make_line(at=AT + 1, track=9)]
    assert read(write(*lines, *lines)) == read(write(*lines))
    assert len(read(write(*lines))) == 3


def test_more_keys_and_blank_lines_do_no_harm() -> None:
    assert read(b"\n" + write(make_line(asctime="now")) + b"  \n\r\n") == read(write(make_line()))
    without = make_line()
    del without["latency"], without["experiments"]
    assert read(write(without))[0].experiments == {}


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"{nope", "malformed"),
        (b"[1]", "object"),
        (b"\xff", "malformed"),
        (b'{"message": "next", "user": "\xff"}', ""),
        (b"[" * 100_000, ""),
        (write(make_line(message="play")), r"\$.message"),
        (write(make_line(time=1.5)), r"\$.time"),
        (write(make_line(time=None)), r"\$.time"),
        (write(make_line(user=-1)), r"\$.user"),
        (write(make_line(user=2**31)), r"\$.user"),
        (write(make_line(timestamp="now")), r"\$.timestamp"),
        (write(make_line(recommendation=None)), "next has a recommendation"),
        (write(make_line(message="last", recommendation=3)), "last has none"),
    ],
)
def test_a_bad_line_is_numbered_and_keeps_its_text(line: bytes, reason: str) -> None:
    log = read_log(write(make_line()) + b"\n" + line.strip() + b"\n" + write(make_line(user=2)))
    (bad,) = log.bad
    assert bad.number == 3
    assert line.startswith(bad.text)
    assert reason.replace("\\", "") in bad.reason
    assert log.rows["line"].tolist() == [1, 4]


@given(st.binary(max_size=300))
def test_every_line_is_an_event_or_bad(data: bytes) -> None:
    log = read_log(data)
    n_lines = sum(1 for line in data.split(b"\n") if line.strip())
    assert len(log.rows) + len(log.bad) == n_lines


@given(
    st.lists(
        st.builds(
            Line,
            message=st.just("next"),
            timestamp=st.integers(AT, AT + 10_000_000),
            user=st.integers(0, 3),
            track=st.integers(0, 50),
            time=st.floats(0, 1),
            latency=st.floats(0, 10),
            recommendation=st.integers(0, 50),
            experiments=st.dictionaries(st.text("AB", min_size=1), st.sampled_from(["C", "T1"])),
        ),
        max_size=20,
    )
)
def test_what_is_written_is_read_again(lines: list[Line]) -> None:
    events = read(encode_lines(lines))
    key = [(e.user, e.timestamp.timestamp() * 1000, e.track, e.time, e.latency) for e in events]
    expected = {(each.user, each.timestamp, each.track, each.time): each.latency for each in lines}
    assert {each[:4] for each in key} == expected.keys()
    assert len({event.event_id for event in events}) == len(events) == len(expected)
