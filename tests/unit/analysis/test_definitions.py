from datetime import UTC, datetime, timedelta

from analysis.core.definitions import (
    Window,
    describe_changes,
    find_recorded_weights,
    find_state,
    list_experiments,
)
from shared.experiments import Experiment, ExperimentSet, Holdout, Treatment

START = datetime(2026, 3, 10, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def define(*experiments: Experiment, holdout: Holdout | None = None) -> ExperimentSet:
    return ExperimentSet(serving=experiments[0].name, experiments=experiments, holdout=holdout)


def make(name: str = "E", *, t1: Treatment | None = None, **fields: object) -> Experiment:
    arms = (Treatment(name="C", recommender="random"), t1 or Treatment(name="T1", weight=3.0))
    return Experiment(name=name, treatments=arms, **fields)  # type: ignore[arg-type]


def windows(*definitions: ExperimentSet) -> list[Window]:
    return [
        Window(each, f"{n}", START + n * HOUR, None if each is definitions[-1] else START)
        for n, each in enumerate(definitions)
    ]


def test_the_state_is_that_of_the_definitions_in_force() -> None:
    past = windows(
        define(make("OLD")), define(make("E"), make("SOON", start=START), make("PAST", end=START))
    )
    before = START - HOUR
    assert find_state(past, "E", before) == "running"
    assert find_state(past, "SOON", before) == "scheduled"
    assert find_state(past, "PAST", START) == "ended"
    assert find_state(past, "OLD", before) == "over"
    assert find_state([], "E", before) == ""


def test_experiments_without_users_are_listed_too() -> None:
    known = windows(define(make("E"), holdout=Holdout(share=0.1)))
    listed = list_experiments(known, {"E": {"T1": 3}, "OLD": {"C": 1}})
    assert listed == {
        "E": {"C": 0, "T1": 3},
        "OLD": {"C": 1},
        "HOLDOUT": {"C": 0, "T1": 0},
    }
    assert list_experiments([], {"OLD": {"C": 1}}) == {"OLD": {"C": 1}}


def test_weights_are_those_recorded_last_if_they_are_of_the_arms_seen() -> None:
    known = windows(define(make("E")), define(make("OTHER")))
    assert find_recorded_weights(known, "E", ["C", "T1"]) == {"C": 1.0, "T1": 3.0}
    assert find_recorded_weights(known, "E", ["C", "T9"]) is None
    assert find_recorded_weights(known, "NONE", ["C"]) is None


def test_changes_say_what_was_and_what_is() -> None:
    better = Treatment(name="T1", recommender="session", parameters={"epsilon": 0.1}, weight=1.0)
    known = windows(
        define(make("E")),
        define(make("E"), make("AA")),  # of another experiment
        define(make("E", coverage=0.5, end=START)),
        define(make("E", coverage=0.5, end=START, t1=better)),
        define(make("AA")),
    )
    assert describe_changes(known, "E", first_at=START, last_at=START + 9 * HOUR) == [
        "2026-03-10 14:00 UTC: coverage from 1 to 0.5, end from none to 2026-03-10T12:00:00+00:00",
        "2026-03-10 15:00 UTC: T1 weight from 3 to 1, T1 recommender from none to session, "
        "T1 parameters from none to epsilon=0.1",
        "2026-03-10 16:00 UTC: no longer defined",
    ]
    assert describe_changes(known, "E", first_at=START + 3 * HOUR, last_at=START + 3.5 * HOUR) == []


def test_layers_and_arms_that_come_and_go_are_changes() -> None:
    third = Treatment(name="T2")
    one = make("E", layer="MAIN", traffic=(0.0, 0.5))
    other = Experiment(name="E", treatments=(one.treatments[0], third), layer="MAIN")
    known = windows(define(one), define(other))
    assert describe_changes(known, "E", first_at=START, last_at=START + HOUR) == [
        "2026-03-10 13:00 UTC: traffic from 0 to 0.5 to 0 to 1, T1 removed, T2 added"
    ]
