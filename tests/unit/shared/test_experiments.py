import contextlib
import json
from collections import Counter
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.experiments import (
    FIRST_VISITOR,
    Experiment,
    InvalidExperimentsError,
    Treatment,
    load_experiments,
    parse_experiments,
)

users = st.integers(0, 2**31 - 1)
names = st.text("abcXYZ_.-09", min_size=1, max_size=30)


def make_experiment(name: str, *weights: float, coverage: float = 1.0) -> Experiment:
    arms = ["C", *(f"T{i}" for i in range(1, len(weights)))]
    treatments = tuple(
        Treatment(name=arm, weight=weight, recommender="random")
        for arm, weight in zip(arms, weights, strict=True)
    )
    return Experiment(name=name, treatments=treatments, coverage=coverage)


def assigned(experiment: Experiment, user: int) -> str | None:
    treatment = experiment.assign(user)
    return treatment.name if treatment else None


# Computed by botify's own code.
@pytest.mark.parametrize(
    ("name", "user", "treatment"),
    [
        ("AA", 0, "T1"),
        ("AA", 1, "T1"),
        ("AA", 2, "C"),
        ("AA", 7, "T1"),
        ("AA", 99, "C"),
        ("AA", 9693, "C"),
    ],
)
def test_equal_split_is_botifys(name: str, user: int, treatment: str) -> None:
    assert assigned(make_experiment(name, 1, 1), user) == treatment


def test_equal_split_is_botifys_in_every_golden_vector(botify_data: Path) -> None:
    vectors = json.loads((botify_data / "assignments.json").read_bytes())
    for vector in vectors:
        experiment = make_experiment(vector["experiment"], *[1] * vector["split"])
        assert assigned(experiment, vector["user"]) == vector["treatment"], vector


@given(names, users, st.lists(st.floats(0.1, 10), min_size=2, max_size=5), st.floats(0.01, 1.0))
def test_changing_coverage_moves_nobody_between_treatments(
    name: str, user: int, weights: list[float], coverage: float
) -> None:
    everybody = assigned(make_experiment(name, *weights), user)
    some = assigned(make_experiment(name, *weights, coverage=coverage), user)
    assert some in {None, everybody}


@given(names, users, st.floats(0.01, 1.0), st.floats(0.01, 1.0))
def test_raising_coverage_keeps_those_already_in(
    name: str, user: int, one: float, other: float
) -> None:
    low, high = sorted([one, other])
    if assigned(make_experiment(name, 1, 1, coverage=low), user) is not None:
        assert assigned(make_experiment(name, 1, 1, coverage=high), user) is not None


@pytest.mark.parametrize("weights", [(1.0, 1.0), (9.0, 1.0), (1.0, 2.0, 3.0), (5.0, 5.0, 5.0)])
def test_shares_follow_the_weights(weights: tuple[float, ...]) -> None:
    experiment, n = make_experiment("shares", *weights), 20_000
    counts = Counter(assigned(experiment, user) for user in range(n))
    for treatment in experiment.treatments:
        share = treatment.weight / sum(weights)
        margin = 4.5 * (n * share * (1 - share)) ** 0.5
        assert abs(counts[treatment.name] - n * share) < margin


def test_coverage_is_a_share_of_the_users() -> None:
    experiment, n = make_experiment("covered", 1, 1, coverage=0.3), 20_000
    covered = sum(assigned(experiment, user) is not None for user in range(n))
    assert abs(covered - 0.3 * n) < 4.5 * (n * 0.3 * 0.7) ** 0.5


def test_coverage_does_not_depend_on_the_treatment() -> None:
    experiment, n = make_experiment("independent", 1, 1, coverage=0.5), 20_000
    counts = Counter(assigned(experiment, user) for user in range(n))
    assert abs(counts["C"] - counts["T1"]) < 4.5 * (n * 0.5) ** 0.5


def test_experiments_split_independently() -> None:
    one, other, n = make_experiment("ONE", 1, 1), make_experiment("OTHER", 1, 1), 20_000
    both = Counter((assigned(one, user), assigned(other, user)) for user in range(n))
    assert all(abs(count - n / 4) < 4.5 * (n * 3 / 16) ** 0.5 for count in both.values())
    assert len(both) == 4


def test_a_visitor_is_served_by_an_arm_and_takes_part_in_nothing() -> None:
    experiments = parse_experiments(
        b"""
        serving: E
        experiments:
          - name: E
            treatments: [{name: C, recommender: random}, {name: T1, recommender: top_pop}]
          - {name: AA, treatments: [{name: C}, {name: T1}]}
        """
    )
    assert experiments.assign(FIRST_VISITOR - 1)[1].keys() == {"E", "AA"}
    served = {experiments.assign(FIRST_VISITOR + n)[0].name for n in range(50)}
    assert served == {"C", "T1"}
    assert all(experiments.assign(FIRST_VISITOR + n)[1] == {} for n in range(50))


def test_users_outside_the_coverage_get_the_default() -> None:
    experiments = parse_experiments(
        b"""
        serving: E
        experiments:
          - {name: E, coverage: 0.5, treatments: [
              {name: C, recommender: random}, {name: T1, recommender: top_pop}]}
        """
    )
    outside = [u for u in range(100) if experiments.experiments[0].assign(u) is None]
    assert outside
    for user in outside:
        treatment, names = experiments.assign(user)
        assert (treatment.name, names) == ("default", {})


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "object"),
        (b"serving: [", "expected"),
        (b"serving: A\nexperiments: []", "no experiment is called 'A'"),
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
            b"serving: A\nexperiments: [{name: A, treatments: [{name: C, wait: 1}]}]",
            "unknown field `wait`",
        ),
        (
            b"serving: A\nexperiments: [{name: A, treatments: [{name: C, weight: 0}]}]",
            "> 0",
        ),
    ],
)
def test_a_bad_definition_is_refused(text: bytes, fault: str) -> None:
    with pytest.raises(InvalidExperimentsError, match=fault):
        parse_experiments(text)


@given(st.binary(max_size=200))
def test_any_bytes_are_definitions_or_refused(text: bytes) -> None:
    with contextlib.suppress(InvalidExperimentsError):
        assert parse_experiments(text).experiments is not None


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidExperimentsError, match=r"absent\.yaml"):
        load_experiments(tmp_path / "absent.yaml")


def test_definitions_survive_a_round_trip(tmp_path: Path) -> None:
    experiments = load_experiments(Path("deploy/experiments.yaml"))
    assert parse_experiments(msgspec.yaml.encode(experiments)) == experiments
