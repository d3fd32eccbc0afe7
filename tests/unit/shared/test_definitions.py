import contextlib
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.definitions import (
    InvalidExperimentsError,
    encode_definitions,
    load_experiments,
    parse_experiments,
)

SERVING = """serving: [A, B]
experiments:
  - name: A
    layer: {layer}
    traffic: {first}
    treatments: [{{name: C, recommender: random}}, {{name: T1, recommender: random}}]
    {more}
  - name: B
    layer: MAIN
    traffic: [0.5, 1.0]
    start: 2026-03-10T12:00:00Z
    treatments: [{{name: C, recommender: random}}, {{name: T1, recommender: random}}]
"""


def write(layer: str = "MAIN", first: str = "[0.0, 0.5]", more: str = "") -> bytes:
    return SERVING.format(layer=layer, first=first, more=more).encode()


def test_definitions_say_what_they_define() -> None:
    experiments = parse_experiments(write(more="end: 2026-03-11T12:00:00+02:00"))
    first = experiments.by_name["A"]
    assert experiments.serving_names == ("A", "B")
    assert (first.layer, first.traffic) == ("MAIN", (0.0, 0.5))
    assert first.end is not None
    assert first.end.isoformat() == "2026-03-11T12:00:00+02:00"


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "empty"),
        (b"serving: [", "line 1: no YAML"),
        (b"\xff\xfe\xff", "no YAML"),
        (b"a: &a [*a]", "line 1: an alias contains itself"),
        (b"serving: A\nexperiments: []\nserving: B", "line 3: serving: the key is there twice"),
        (b"serving: 2026-99-99\nexperiments: []", "no YAML: month must be"),
        (b"serving: A\nexperiments: []", "no experiment is called 'A'"),
        (b"serving: []\nexperiments: []", "names one experiment or several"),
        (
            b"serving: A\nexperiments: [{name: A, treatments: [{name: C, recommender: random}]}]",
            "at least one other",
        ),
        (
            b"serving: A\nexperiments: [{name: A, treatments: [{name: T1}, {name: C}]}]",
            "treatments are C and",
        ),
        (
            b"serving: A\nexperiments: [{name: A, treatments: [{name: C}, {name: T1}]}]",
            "names no recommender",
        ),
        (
            b"serving: A\nexperiments:\n- name: A\n  treatments:\n  - {name: C, wait: 1}",
            r"^line 5: experiments\[0\]\.treatments\[0\]: .*unknown field `wait`",
        ),
        (
            b"serving: A\nexperiments:\n- name: A\n  treatments:\n  - name: C\n    weight: 0",
            r"^line 6: experiments\[0\]\.treatments\[0\]\.weight: .*> 0",
        ),
        (write(more="coverage: .nan"), "coverage"),
        (write(more="start: 2026-03-10T12:00:00"), r"line 7: experiments\[0\]\.start: "),
        (write(more="start: 2026-03-10"), r"line 7: experiments\[0\]\.start: "),
        (
            write(
                more="{start: 2026-03-10T12:00:00Z, end: 2026-03-10T12:00:00Z}"[1:-1].replace(
                    ", ", "\n    "
                )
            ),
            "A: it ends before it starts",
        ),
        (write(first="[0.5, 0.5]"), "A: traffic goes from less to more"),
        (write(first="[0.0, 1.5]"), r"traffic\[1\]|traffic"),
        (write(layer="null"), "A: traffic is a range of a layer"),
        (write(layer="null", first="[0, 1]"), "several experiments serve from one layer"),
        (write(layer="OTHER"), "several experiments serve from one layer"),
        (write(first="[0.0, 0.6]"), "A and B: both have users of layer MAIN"),
        (write() + b"holdout: {share: 0.5}", r"holdout\.share: .*< 0.5"),
        (write() + b"holdout: {share: 0.1, name: A}", "names repeat"),
        (write().replace(b"name: C,", b"name: C, weight: .inf,"), "not finite"),
    ],
)
def test_a_bad_definition_is_refused(text: bytes, fault: str) -> None:
    with pytest.raises(InvalidExperimentsError, match=fault):
        parse_experiments(text)


def test_traffic_may_overlap_one_after_the_other() -> None:
    assert parse_experiments(write(first="[0.0, 0.6]", more="end: 2026-03-10T12:00:00Z"))


@given(st.binary(max_size=200) | st.text(max_size=200).map(str.encode))
def test_any_bytes_are_definitions_or_refused(text: bytes) -> None:
    with contextlib.suppress(InvalidExperimentsError):
        assert parse_experiments(text).experiments is not None


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidExperimentsError, match=r"absent\.yaml"):
        load_experiments(tmp_path / "absent.yaml")


def test_definitions_survive_a_round_trip() -> None:
    experiments = load_experiments(Path("deploy/experiments.yaml"))
    assert parse_experiments(msgspec.yaml.encode(experiments)) == experiments
    assert parse_experiments(encode_definitions(experiments)) == experiments


def test_equal_definitions_are_written_alike() -> None:
    one = (
        b"serving: E\nexperiments: [{name: E, treatments: [{name: C, recommender: random, "
        b"parameters: {a: 1, b: 2}}, {name: T1, recommender: random}]}]"
    )
    other = one.replace(b"{a: 1, b: 2}", b"{b: 2, a: 1}")
    assert encode_definitions(parse_experiments(one)) == encode_definitions(
        parse_experiments(other)
    )
