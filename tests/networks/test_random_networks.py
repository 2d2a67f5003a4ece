"""Sums add up on networks that hypothesis draws."""

from __future__ import annotations

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from random_network import COMMON, COMMON_STEPS, Case, cases

import relprop


def budget(examples: int) -> settings:
    return settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=[HealthCheck.too_slow],
        derandomize=True,
    )


@budget(500)
@given(
    cases(),
    st.sampled_from(["rescale", "reveal_cancel", "genomics"]),
    st.sampled_from(["winner", "shapley"]),
)
def test_deeplift_sums_to_the_difference(case: Case, rule: str, max_pool: str) -> None:
    model, x, x0 = case.build()
    contributions, delta = relprop.DeepLift(model, rule, max_pool).attribute(
        x, baselines=x0, target=1, return_convergence_delta=True
    )
    difference = (model(x) - model(x0))[:, 1]
    size = max(1.0, difference.abs().max().item())
    assert (contributions.flatten(1).sum(1) - difference).abs().max() < 1e-9 * size
    assert delta.abs().max() < 1e-9 * size


@budget(40)
@given(
    cases(COMMON_STEPS, COMMON),
    st.sampled_from(["epsilon", "epsilon_plus", "epsilon_plus_flat"]),
    st.sampled_from(["absorb", "ignore", "redistribute"]),
)
def test_lrp_accounts_for_the_score(case: Case, composite: str, bias: str) -> None:
    """With a stabilizer that keeps relevances within bounds, all of the score is accounted for."""
    model, x, _ = case.build()
    lrp = relprop.LRP(model, composite, bias=bias, epsilon=0.1, stabilizer=0.1)
    R = lrp.attribute(x, target=1)
    report = lrp.report(x, target=1)
    largest = max([1.0, *(abs(account.received) for account in report.accounts)])
    largest = max(largest, R.abs().max().item())
    assert abs(report.score - model(x)[:, 1].sum().item()) < 1e-9
    assert abs(report.shortfall) < 1e-9 * largest
    assert abs(report.relevance - R.sum().item()) < 1e-9 * largest
    if bias == "redistribute":
        assert report.bias == 0 and report.stabilizer == 0
        assert abs(report.score - report.relevance - report.dropped) < 1e-9 * largest
