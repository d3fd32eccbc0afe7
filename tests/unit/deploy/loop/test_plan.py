"""What a loop is a function of."""

import numpy as np

from deploy.loop.plan import CONTROL, FIRST_JUDGED, TREATMENT, Plan


def test_no_episode_is_played_twice() -> None:
    plan = Plan(history=100, sessions=30)
    days = [np.arange(plan.history), *(plan.episodes(day) for day in (1, 2, 3))]
    assert np.concatenate(days).tolist() == list(range(190))
    assert plan.episodes(1_000_000).max() < FIRST_JUDGED


def test_the_treatment_explores_unless_a_model_is_judged() -> None:
    plan = Plan(bonus=0.4, epsilon=0.1)
    for explores, parameters in ((True, {"bonus": 0.4, "epsilon": 0.1}), (False, {})):
        (experiment,) = plan.experiments(explores=explores).experiments
        control, treatment = experiment.treatments
        assert (control.name, control.recommender, control.parameters) == (CONTROL, "random", {})
        assert (treatment.name, treatment.recommender) == (TREATMENT, "session")
        assert treatment.parameters == parameters


def test_half_of_the_users_are_treated_whoever_judges() -> None:
    plan = Plan()
    arms = [
        [e.assign(user, 0).treatment.name for user in range(2_000)]
        for e in (plan.experiments(), plan.experiments(explores=False))
    ]
    assert arms[0] == arms[1]
    assert 900 < arms[0].count(TREATMENT) < 1_100
