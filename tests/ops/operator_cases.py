"""What the operators are tried on."""

from collections.abc import Callable

import torch
from function_formulas import FUNCTIONS
from torch import Tensor

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
