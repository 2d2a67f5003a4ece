"""On the networks of docs/lrp-peers.md our sums hold, and zennit agrees where it is right."""

from __future__ import annotations

import pytest

from benchmarks.peers.lrp.networks import EXPLAINED, LARGE, NETWORKS, Subject, subject
from benchmarks.peers.lrp.packages import OURS, PACKAGES, RULES, TOLERANCE, Rules, ask
from benchmarks.peers.networks import PHOTO
from benchmarks.peers.outcome import deviation

pytestmark = pytest.mark.peers

NAMES = [*EXPLAINED, *NETWORKS, *(pytest.param(name, marks=pytest.mark.slow) for name in LARGE)]
BY_TITLE = {package.title: package for package in PACKAGES}
REDISTRIBUTING = BY_TITLE["relprop, redistributing"]
ZENNIT, CANONIZED = BY_TITLE["zennit"], BY_TITLE["zennit, `ResNetCanonizer`"]
BY_RULE = {rules.title: rules for rules in RULES}
Z_PLUS = BY_RULE["z+ on convolutions, epsilon on dense layers"]


def network(name: str) -> Subject:
    found = subject(name)
    if found is None:
        pytest.skip("the network is not installed")
    return found


@pytest.mark.parametrize("name", NAMES)
def test_redistributed_relevance_sums_to_the_score_by_every_rule(name: str) -> None:
    found = network(name)
    # With next to no epsilon, relevance outgrows the digits of float64 on the trained network.
    for rules in RULES if name != PHOTO else RULES[1:]:
        got = ask(REDISTRIBUTING, rules, found)
        assert not got.failure, rules
        assert got.error < 1e-9, rules


@pytest.mark.parametrize("name", [*NETWORKS])
def test_epsilon_without_biases_sums_to_the_score(name: str) -> None:
    if name == "batch norm before a convolution":
        pytest.skip("where a ReLU is off, the batch norm's output is its bias, and has no other")
    got = ask(OURS, BY_RULE["epsilon"], network(name))
    assert not got.failure
    assert got.error < TOLERANCE


#: Where zennit is right without a canonizer: no batch norm, no `+`, no product, no module twice.
SIMPLE = [
    *EXPLAINED,
    *("1-d convolutions", "3-d convolutions", "transposed convolution", "overlapping max pool"),
    *("`F.relu`", "`nn.Flatten`", "one `nn.ReLU`, used twice", "branches, concatenated"),
    "two convolutions of equal weights",
]


def agrees(rules: Rules, name: str) -> bool:
    """Zennit takes the sign of z for the gamma rule with the bias that it leaves out elsewhere."""
    return not (rules.dense == "gamma" and name.endswith("biases"))


@pytest.mark.parametrize("name", SIMPLE)
def test_relevance_equals_zennits(name: str) -> None:
    pytest.importorskip("zennit")
    found = network(name)
    for rules in filter(lambda rules: agrees(rules, name), RULES):
        ours, theirs = (ask(package, rules, found).shares for package in (OURS, ZENNIT))
        assert ours is not None and theirs is not None
        assert deviation(theirs, ours) < 1e-9, rules


@pytest.mark.parametrize("title", ["epsilon", "alpha2-beta1", "gamma, 0.25"])
def test_a_convolution_used_twice_is_two_convolutions_to_us_and_not_to_zennit(title: str) -> None:
    pytest.importorskip("zennit")
    rules = BY_RULE[title]
    two, one = (
        network("two convolutions of equal weights"),
        network("the same, but one, used twice"),
    )
    expected, ours = (ask(OURS, rules, found).shares for found in (two, one))
    theirs = ask(ZENNIT, rules, one)
    assert expected is not None and ours is not None and theirs.shares is not None
    assert ours.equal(expected)
    assert deviation(theirs.shares, expected) > 0.1
    assert theirs.error < TOLERANCE, "its sum looks right"


def test_a_resnet_needs_no_canonizer_here_and_one_in_zennit() -> None:
    pytest.importorskip("zennit")
    found = network("ResNet18, random weights")
    ours, theirs, canonized = (ask(p, Z_PLUS, found) for p in (OURS, ZENNIT, CANONIZED))
    assert ours.shares is not None and canonized.shares is not None
    assert ours.error < 1e-6 < 1 < theirs.error
    assert deviation(canonized.shares, ours.shares) < 1e-3
