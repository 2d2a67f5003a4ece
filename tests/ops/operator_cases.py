"""What the operators are tried on."""

from collections.abc import Callable

import torch
from function_formulas import FUNCTIONS, PARAMETERS, POSITIVE
from torch import Tensor

from relprop.ops import ACTIVATIONS

CONTIGUOUS, CHANNELS_LAST = torch.contiguous_format, torch.channels_last
DTYPES = (torch.float32, torch.float64, torch.float16, torch.bfloat16)
NAMES = tuple(FUNCTIONS)

SLICES: dict[str, Callable[[Tensor], Tensor]] = {
    "every other channel": lambda t: t[:, ::2],
    "every other column": lambda t: t[..., ::2],
    "a crop": lambda t: t[:, :, 1:-1, 2:-3],
    "transposed": lambda t: t.transpose(2, 3),
    "batch innermost": lambda t: t.permute(1, 2, 3, 0),
    "expanded": lambda t: t[:, :1].expand_as(t),
    "an odd offset": lambda t: t.flatten()[3:].view(-1, 1),
}


def threshold(dtype: torch.dtype) -> float:
    """Where the secant of a smooth function gives way to its derivative."""
    return float((24 * torch.finfo(dtype).eps) ** (1 / 3))


def code_and_parameters(activation: str) -> tuple[int, list[float]]:
    return ACTIVATIONS[activation].code, list(PARAMETERS.get(activation, ()))


def baseline_for(activation: str, r: Tensor, N: Tensor) -> Tensor:
    """The baseline, moved to where r + N is positive if the function wants that."""
    return r.abs() + N.abs().amax() + 0.1 if activation in POSITIVE else r
