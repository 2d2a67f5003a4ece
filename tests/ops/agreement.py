"""What "the same" means in the tests of the operators."""

import torch
from torch import Tensor

# Units in the last place of the largest number that a kernel may be away from the reference, which
# does the same operations but for exp and tanh.
ULPS = 8


def assert_same(actual: Tensor, expected: Tensor, ulps: float = ULPS) -> None:
    """Equal up to rounding, in the same dtype, shape and memory format."""
    assert actual.shape == expected.shape
    assert actual.dtype == expected.dtype
    assert actual.stride() == expected.stride()
    assert_close(actual, expected, ulps * torch.finfo(expected.dtype).eps)


def assert_close(actual: Tensor, expected: Tensor, relative: float) -> None:
    """Equal up to a tolerance, relative to the largest number expected."""
    actual, expected = actual.double().cpu(), expected.double().cpu()
    assert bool(actual.isfinite().all())
    if expected.numel() == 0:
        return
    tolerance = relative * max(1.0, expected.abs().max().item())
    assert (actual - expected).abs().max().item() <= tolerance


def assert_as_accurate(actual: Tensor, plain: Tensor, exact: Tensor) -> None:
    """Off from the float64 result by no more than twice what plain torch is in the same dtype."""
    error = (actual.double() - exact).abs().max().item()
    allowed = (plain.double() - exact).abs().max().item()
    rounding = torch.finfo(actual.dtype).eps * exact.abs().max().item()
    assert error <= 2 * allowed + rounding
