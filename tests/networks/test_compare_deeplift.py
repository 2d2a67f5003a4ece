"""On the networks of benchmarks/compare_deeplift.py our sums hold, and captum's agree with us."""

from __future__ import annotations

import pytest
import torch
from deeplift_networks import NETWORKS, PHOTO, subject
from deeplift_packages import OURS, PACKAGES, deviation, outcome

pytestmark = pytest.mark.peers

NAMES = [*NETWORKS, pytest.param(PHOTO, marks=pytest.mark.slow)]
BY_TITLE = {package.title: package for package in PACKAGES}
RELPROP = [title for title in BY_TITLE if title.startswith("relprop")]
(CAPTUM,) = (package for package in PACKAGES if package.package == "captum")


@pytest.mark.parametrize("title", RELPROP)
@pytest.mark.parametrize("name", NAMES)
def test_contributions_sum_to_the_difference(name: str, title: str) -> None:
    found = subject(name)
    if found is None:
        pytest.skip("the network is not installed")
    got = outcome(BY_TITLE[title], found)
    assert not got.failure
    assert got.error < (1e-9 if found.x.dtype == torch.float64 else found.tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_contributions_equal_captums_where_its_sum_is_right(name: str) -> None:
    pytest.importorskip("captum")
    found = subject(name)
    if found is None:
        pytest.skip("the network is not installed")
    theirs = outcome(CAPTUM, found)
    if theirs.contributions is None or theirs.error > found.tolerance:
        pytest.skip(f"captum is wrong: {theirs.failure or theirs.error}")
    ours = outcome(OURS, found).contributions
    assert ours is not None
    assert deviation(ours, theirs.contributions) < 1e-6
