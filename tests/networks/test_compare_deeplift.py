"""On the networks of docs/deeplift-peers.md our sums hold, and captum's agree with us."""

from __future__ import annotations

import pytest
import torch

from benchmarks.peers.deeplift.networks import NETWORKS, PHOTO, subject
from benchmarks.peers.deeplift.packages import OURS, PACKAGES, ask
from benchmarks.peers.outcome import deviation

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
    got = ask(BY_TITLE[title], found)
    assert not got.failure
    assert got.error < (1e-9 if found.x.dtype == torch.float64 else found.tolerance)


@pytest.mark.parametrize("name", NAMES)
def test_contributions_equal_captums_where_its_sum_is_right(name: str) -> None:
    pytest.importorskip("captum")
    found = subject(name)
    if found is None:
        pytest.skip("the network is not installed")
    theirs = ask(CAPTUM, found)
    if theirs.shares is None or theirs.error > found.tolerance:
        pytest.skip(f"captum is wrong: {theirs.failure or theirs.error}")
    ours = ask(OURS, found).shares
    assert ours is not None
    assert deviation(ours, theirs.shares) < 1e-6
