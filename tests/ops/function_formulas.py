"""The elementwise functions by their textbook formulas, to 60 digits, one number at a time."""

from collections.abc import Callable
from typing import Any

import torch
from mpmath import mp, mpf
from torch import Tensor
from torch.nn import functional

Function = Callable[..., Any]
mp.dps = 60


def sigmoid(x: Any) -> Any:
    return 1 / (1 + mp.exp(-x))


def softplus(x: Any, beta: float = 1, threshold: float = 20) -> Any:
    return x if x * beta > threshold else mp.log1p(mp.exp(x * beta)) / beta


def elu(x: Any, alpha: float, scale: float, input_scale: float) -> Any:
    return scale * x if x > 0 else alpha * scale * mp.expm1(input_scale * x)


def tanh_gate(x: Any) -> Any:
    return (1 + mp.tanh(mp.sqrt(2 / mp.pi) * (x + mpf("0.044715") * x**3))) / 2


def relu6(x: Any) -> Any:
    return min(max(x, 0), 6)


FUNCTIONS: dict[str, Function] = {
    "identity": lambda x: x,
    "relu": lambda x: max(x, 0),
    "hardtanh": lambda x, low, high: min(max(x, low), high),
    "sigmoid": sigmoid,
    "tanh": mp.tanh,
    "threshold": lambda x, threshold, value: x if x > threshold else value,
    "leaky_relu": lambda x, slope: x if x > 0 else slope * x,
    "elu": elu,
    "gelu": lambda x: x * mp.ncdf(x),
    "gelu_tanh": lambda x: x * tanh_gate(x),
    "silu": lambda x: x * sigmoid(x),
    "mish": lambda x: x * mp.tanh(softplus(x, threshold=mp.inf)),
    "hardswish": lambda x: x * relu6(x + 3) / 6,
    "hardsigmoid": lambda x: relu6(x + 3) / 6,
    "logsigmoid": lambda x: mp.log(sigmoid(x)),
    "softplus": softplus,
    "softsign": lambda x: x / (1 + abs(x)),
    "exp": mp.exp,
    "log": mp.log,
    "sqrt": mp.sqrt,
    "square": lambda x: x**2,
    "pow": lambda x, exponent: x**exponent,
    "abs": abs,
}

# The same in torch, whose autograd says what the derivative is at a kink.
TORCH: dict[str, Callable[..., Tensor]] = {
    "identity": torch.clone,
    "relu": torch.relu,
    "hardtanh": functional.hardtanh,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "threshold": functional.threshold,
    "leaky_relu": functional.leaky_relu,
    "elu": torch.ops.aten.elu,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "silu": functional.silu,
    "mish": functional.mish,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "logsigmoid": functional.logsigmoid,
    "softplus": functional.softplus,
    "softsign": functional.softsign,
    "exp": torch.exp,
    "log": torch.log,
    "sqrt": torch.sqrt,
    "square": torch.square,
    "pow": torch.pow,
    "abs": torch.abs,
}

PARAMETERS: dict[str, tuple[float, ...]] = {
    "hardtanh": (-0.5, 0.75),
    "threshold": (0.25, -0.5),
    "leaky_relu": (0.125,),
    "elu": (1.5, 1.25, 0.75),
    "softplus": (2.0, 3.0),
    "pow": (2.5,),
}

# Where a slope or a curvature jumps.
KINKS: dict[str, tuple[float, ...]] = {
    "relu": (0.0,),
    "hardtanh": (-0.5, 0.75),
    "threshold": (0.25,),
    "leaky_relu": (0.0,),
    "elu": (0.0,),
    "hardswish": (-3.0, 3.0),
    "hardsigmoid": (-3.0, 3.0),
    "softplus": (1.5,),
    "softsign": (0.0,),
    "abs": (0.0,),
}

POSITIVE = ("log", "sqrt", "pow")


def inside(activation: str, x: Tensor) -> Tensor:
    """The numbers, or their magnitudes, none of them 0, where the function wants them positive."""
    return x.abs().clamp(min=torch.finfo(x.dtype).tiny) if activation in POSITIVE else x


def value(activation: str, x: float) -> Any:
    return FUNCTIONS[activation](mpf(x), *PARAMETERS.get(activation, ()))


def gradient(activation: str, x: float) -> float:
    """What a secant tends to; at a kink, what torch's autograd says."""
    p = PARAMETERS.get(activation, ())
    if x not in KINKS.get(activation, ()):
        return float(mp.diff(lambda t: FUNCTIONS[activation](t, *p), mpf(x)))
    at = torch.tensor(x, dtype=torch.float64, requires_grad=True)
    return torch.autograd.grad(TORCH[activation](at, *p), at)[0].item()


def slope(activation: str, start: float, end: float) -> float:
    """The secant's, without cancellation; from a point to itself, the derivative."""
    if start == end:
        return gradient(activation, start)
    rise = value(activation, end) - value(activation, start)
    return float(rise / (mpf(end) - mpf(start)))
