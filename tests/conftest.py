"""What all tests share."""

from __future__ import annotations

import pytest
import torch

from benchmarks.torchvision_operators import define_torchvision_operators

define_torchvision_operators()
try:
    from hypothesis import settings
except ImportError:  # the tests in tests/gpu can do without
    pass
else:
    # Machines are slow when they are busy. `--hypothesis-profile search` looks for new examples.
    settings.register_profile("search", deadline=None)
    settings.register_profile("relprop", deadline=None, derandomize=True)
    settings.load_profile("relprop")


@pytest.fixture(autouse=True)
def seed() -> None:
    """The same random numbers for every test, in whatever order."""
    torch.manual_seed(0)
