import pytest

from analysis.core.decisions import Decision, Guardrail, InvalidRuleError, Rule, decide
from analysis.core.moments import MetricAggregate
from analysis.core.sample_ratio import check_sample_ratio

METRIC = "mean_time_per_session"
N_USERS = 2000


def decide_of(
    *, rule: Rule | None = None, n_users: int = N_USERS, broken: bool = False, **means: float
) -> Decision:
    """Decide between arms whose metric has these means; `T1_sessions` is of another metric."""
    aggregates = {}
    for name, mean in {"C": 10.0, **means}.items():
        arm, _, metric = name.partition("_")
        aggregates[arm, metric or METRIC] = MetricAggregate(n_users, mean, 9.0)
    names = sorted({arm for arm, _ in aggregates})
    users = {"C": 5200, "T1": 4800} if broken else {"C": 5000, "T1": 5000}
    return decide(
        aggregates,
        names,
        rule=rule or Rule(),
        alpha=0.05,
        sample_ratio=check_sample_ratio(users),
    )


def test_a_better_treatment_is_shipped() -> None:
    decision = decide_of(T1=11.0)
    assert (decision.reached, decision.action, decision.winner) == (True, "ship", "T1")
    assert "better in mean_time_per_session (+" in decision.reason


def test_the_best_of_two_is_shipped_once_both_are_settled() -> None:
    assert decide_of(T1=11.0, T2=12.0).winner == "T2"
    open_still = decide_of(T1=12.0, T2=10.25)
    assert (open_still.reached, open_still.winner) == (False, None)
    assert [verdict.action for verdict in open_still.treatments] == ["ship", "continue"]


def test_a_worse_treatment_stops() -> None:
    decision = decide_of(T1=9.0)
    assert (decision.reached, decision.action, decision.winner) == (True, "stop", None)


def test_an_effect_shown_to_be_small_stops() -> None:
    decision = decide_of(T1=10.0, n_users=20_000)
    assert (decision.action, "not 5% better" in decision.reason) == ("stop", True)


def test_what_is_open_goes_on() -> None:
    decision = decide_of(T1=10.25)
    assert (decision.reached, decision.action) == (False, "continue")


def test_fewer_users_than_the_smallest_exposure_decide_nothing() -> None:
    decision = decide_of(T1=20.0, n_users=99)
    assert not decision.reached
    assert "99 users in an arm, of the 100" in decision.reason
    assert decide_of(T1=20.0, n_users=100).reached


def test_a_guardrail_that_is_harmed_stops_a_better_treatment() -> None:
    decision = decide_of(T1=12.0, C_sessions=5.0, T1_sessions=3.0)
    assert (decision.action, "harms sessions" in decision.reason) == ("stop", True)
    tolerant = Rule(guardrails=(Guardrail("sessions", 50),))
    assert decide_of(rule=tolerant, T1=12.0, C_sessions=5.0, T1_sessions=3.0).action == "ship"


def test_more_of_what_should_be_less_is_harm() -> None:
    rule = Rule(guardrails=(Guardrail("mean_request_latency"),))
    means = {"C_mean_request_latency": 5.0, "T1_mean_request_latency": 8.0}
    assert decide_of(rule=rule, T1=12.0, **means).action == "stop"
    better = {"C_mean_request_latency": 8.0, "T1_mean_request_latency": 5.0}
    assert decide_of(rule=rule, T1=12.0, **better).action == "ship"


def test_a_metric_that_should_fall_decides_by_falling() -> None:
    rule = Rule(metric="skip_rate")
    fell = {"C_skip_rate": 8.0, "T1_skip_rate": 5.0}
    assert decide_of(rule=rule, **fell).action == "ship"
    assert decide_of(rule=rule, C_skip_rate=5.0, T1_skip_rate=8.0).action == "stop"


def test_a_guardrail_that_is_not_measured_does_not_block() -> None:
    assert decide_of(T1=11.0, T1_retention=0.0).action == "ship"


def test_a_broken_split_stops_whatever_the_effect() -> None:
    decision = decide_of(T1=12.0, broken=True)
    assert (decision.reached, decision.action, decision.winner) == (True, "stop", None)


def test_a_control_alone_decides_nothing() -> None:
    assert decide_of().action == "continue"


def test_more_treatments_need_stronger_evidence() -> None:
    others = {f"T{i}": 10.0 for i in range(2, 20)}
    assert decide_of(T1=10.33).treatments[0].action == "ship"
    assert decide_of(T1=10.33, **others).treatments[0].action == "continue"


def test_history_that_explains_the_noise_decides_earlier() -> None:
    """Without it the same means are open; half of the variance is the listeners' own."""
    arms = {
        ("C", METRIC): MetricAggregate(N_USERS, 10.0, 9.0, 10.0, 9.0, 8.5),
        ("T1", METRIC): MetricAggregate(N_USERS, 10.25, 9.0, 10.0, 9.0, 8.5),
    }
    ratio = check_sample_ratio({"C": N_USERS, "T1": N_USERS})
    decision = decide(arms, ["C", "T1"], rule=Rule(), alpha=0.05, sample_ratio=ratio)
    assert (decision.action, decide_of(T1=10.25).action) == ("ship", "continue")


def test_an_impossible_rule_is_refused() -> None:
    with pytest.raises(InvalidRuleError, match="no metric is called joy; there are: time"):
        Rule(metric="joy")
    with pytest.raises(InvalidRuleError, match="between 0 and 1000"):
        Rule(worthwhile_pct=0)
    with pytest.raises(InvalidRuleError, match="0 to 100"):
        Rule(guardrails=(Guardrail("sessions", -1),))
    with pytest.raises(InvalidRuleError, match="2 users"):
        Rule(min_users=1)
