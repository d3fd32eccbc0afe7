import json
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.definitions import parse_experiments
from shared.experiments import FIRST_VISITOR, Experiment, ExperimentSet, Holdout, Treatment

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
START_MS = 1000 * START.timestamp()
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


def make_set(*experiments: Experiment, holdout: float | None = None) -> ExperimentSet:
    return ExperimentSet(
        serving=tuple(experiment.name for experiment in experiments),
        experiments=experiments,
        holdout=None if holdout is None else Holdout(share=holdout),
    )


def make_layered(name: str, first: float, last: float, **window: datetime) -> Experiment:
    treatments = tuple(Treatment(name=arm, recommender="random") for arm in ("C", "T1"))
    return Experiment(
        name=name, treatments=treatments, layer="MAIN", traffic=(first, last), **window
    )


def test_a_salt_of_its_own_splits_as_the_experiment_that_it_names() -> None:
    old, new = make_experiment("OLD", 1, 1), make_experiment("NEW", 1, 1)
    resalted = Experiment(name="NEW", treatments=new.treatments, salt="OLD")
    arms = [[assigned(each, user) for user in range(200)] for each in (old, new, resalted)]
    assert arms[0] == arms[2] != arms[1]


def test_experiments_of_a_layer_share_its_users_and_nobody_is_in_two() -> None:
    layered = [make_layered("A", 0, 0.5), make_layered("B", 0.5, 0.8)]
    experiments, n = make_set(*layered), 20_000
    takes_part = Counter(tuple(experiments.assign(user, 0).names) for user in range(n))
    assert set(takes_part) == {("A",), ("B",), ()}
    for names, share in {("A",): 0.5, ("B",): 0.3, (): 0.2}.items():
        assert abs(takes_part[names] - share * n) < 4.5 * (n * share * (1 - share)) ** 0.5


def test_each_user_of_a_layer_is_served_by_the_experiment_that_has_them() -> None:
    experiments = make_set(make_layered("A", 0, 0.5), make_layered("B", 0.5, 0.8))
    for user in range(300):
        assignment = experiments.assign(user, 0)
        assert assignment.experiment == next(iter(assignment.names), "")
        expected = assignment.names.get(assignment.experiment, "default")
        assert assignment.treatment.name == expected


@given(users)
def test_widening_the_traffic_keeps_those_already_in(user: int) -> None:
    narrow, wide = make_layered("A", 0.2, 0.4), make_layered("A", 0.1, 0.6)
    if assigned(narrow, user) is not None:
        assert assigned(wide, user) == assigned(narrow, user)


def test_layers_split_independently_of_the_arms_and_of_each_other() -> None:
    one, n = make_layered("A", 0, 0.5), 20_000
    other = Experiment(name="B", treatments=one.treatments, layer="OTHER", traffic=(0.0, 0.5))
    both = Counter((assigned(one, user), assigned(other, user)) for user in range(n))
    for pair, count in both.items():
        share = 0.25 if pair == (None, None) else 0.125 if None in pair else 0.0625
        assert abs(count - share * n) < 4.5 * (n * share * (1 - share)) ** 0.5, pair


def test_who_is_held_out_takes_part_in_nothing_and_gets_the_default() -> None:
    experiments, n = make_set(make_experiment("E", 1, 1), holdout=0.1), 20_000
    held_out = 0
    for user in range(n):
        experiment, treatment, names = experiments.assign(user, 0)
        if names["HOLDOUT"] == "C":
            held_out += 1
            assert (experiment, treatment, names) == ("", experiments.default, {"HOLDOUT": "C"})
        else:
            assert names == {"HOLDOUT": "T1", "E": treatment.name}
    assert abs(held_out - 0.1 * n) < 4.5 * (n * 0.1 * 0.9) ** 0.5


@given(users, st.floats(0.01, 0.49), st.floats(0.01, 0.49))
def test_raising_the_holdout_keeps_those_already_out(user: int, one: float, other: float) -> None:
    low, high = sorted([one, other])
    if assigned(Holdout(share=low).experiment, user) == "C":
        assert assigned(Holdout(share=high).experiment, user) == "C"


def test_outside_its_window_an_experiment_has_nobody_and_serves_its_control() -> None:
    end = START + timedelta(days=7)
    treatments = tuple(Treatment(name=arm, recommender="random") for arm in ("C", "T1"))
    experiment = Experiment(name="E", treatments=treatments, start=START, end=end)
    experiments, end_ms = make_set(experiment), 1000 * end.timestamp()
    user = next(user for user in range(50) if assigned(experiment, user) == "T1")
    found = {}
    for at_ms in (START_MS - 1, START_MS, end_ms - 1, end_ms):
        assignment = experiments.assign(user, at_ms)
        found[experiment.status(at_ms), at_ms] = (assignment.treatment.name, assignment.names)
    assert found == {
        ("scheduled", START_MS - 1): ("C", {}),
        ("running", START_MS): ("T1", {"E": "T1"}),
        ("running", end_ms - 1): ("T1", {"E": "T1"}),
        ("ended", end_ms): ("C", {}),
    }


def test_of_two_experiments_one_after_the_other_the_running_one_serves() -> None:
    later = START + timedelta(days=1)
    experiments = make_set(
        make_layered("FIRST", 0, 1, end=START), make_layered("SECOND", 0, 1, start=later)
    )
    before, between, after = (
        experiments.assign(7, START_MS + 1000 * hours * 3600) for hours in (-1, 1, 25)
    )
    assert list(before.names) == [before.experiment] == ["FIRST"]
    assert (between.experiment, between.treatment.name, between.names) == ("FIRST", "C", {})
    assert list(after.names) == [after.experiment] == ["SECOND"]


def test_a_visitor_is_served_by_an_arm_and_takes_part_in_nothing() -> None:
    experiments = parse_experiments(
        b"""
        serving: E
        holdout: {share: 0.4}
        experiments:
          - name: E
            treatments: [{name: C, recommender: random}, {name: T1, recommender: top_pop}]
          - {name: AA, treatments: [{name: C}, {name: T1}]}
        """
    )
    others = [experiments.assign(FIRST_VISITOR - n, 0).names.keys() for n in range(1, 20)]
    assert {"HOLDOUT", "E", "AA"} in others
    served = {experiments.assign(FIRST_VISITOR + n, 0).treatment.name for n in range(50)}
    assert served == {"C", "T1"}
    assert all(experiments.assign(FIRST_VISITOR + n, 0).names == {} for n in range(50))


def test_users_outside_the_coverage_get_the_default() -> None:
    experiments = make_set(make_experiment("E", 1, 1, coverage=0.5))
    outside = [u for u in range(100) if experiments.experiments[0].assign(u) is None]
    assert outside
    for user in outside:
        assert experiments.assign(user, 0) == ("", experiments.default, {})
