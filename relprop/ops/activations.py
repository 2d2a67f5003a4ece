"""The elementwise functions that every operator knows: one table, read by all of them.

A function has a name (what a user writes), a code (what crosses the operator's schema, and what
`csrc/activations.h` lists beside its C++ twin), its parameters with their defaults, and its
derivative, in torch's own convention where it has a kink. To add one, add a row here and a row
there.

``hardtanh`` is torch's relu6 and clamp as well (its bounds may be infinite), ``elu`` its selu and
celu: ``alpha * scale * expm1(input_scale * x)`` up to 0, ``scale * x`` above, as ATen has it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional

from . import derivatives

Elementwise = Callable[[Tensor, Sequence[float]], Tensor]
Between = Callable[[Tensor, Tensor, Sequence[float]], Tensor]


@dataclass(frozen=True)
class Activation:
    """One elementwise function ``f``.

    Attributes:
        name: what a user writes.
        code: its number in `csrc/activations.h`.
        f: ``f(x, parameters)``.
        derivative: ``f'(x, parameters)``; where f has a kink, what torch's autograd gives.
        smooth: whether ``f'`` may stand for the secant between two different numbers; false where
            the secant is as exact, as all its slopes are -1, 0 or 1.
        defaults: its parameters, by name, in order.
        reach: ``reach(a, b, parameters)``, how far apart a and b may be for that, in units of the
            distance that `relprop.ops.rescale` speaks of; None for 1, or for 0 if it is not smooth.
        domain: ``domain(low, high, parameters)``, whether f is defined from low to high; None if it
            is everywhere.
        limits: what its parameters must satisfy, in words, each with its test.
    """

    name: str
    code: int
    f: Elementwise
    derivative: Elementwise
    smooth: bool
    defaults: dict[str, float] = field(default_factory=dict)
    reach: Between | None = None
    domain: Between | None = None
    limits: dict[str, Callable[[Sequence[float]], bool]] = field(default_factory=dict)


TABLE = (
    Activation(
        name="identity",
        code=0,
        f=lambda x, p: x,
        derivative=lambda x, p: torch.ones_like(x),
        smooth=False,
    ),
    Activation(
        name="relu",
        code=1,
        f=lambda x, p: torch.relu(x),
        derivative=lambda x, p: (x > 0).to(x.dtype),
        smooth=False,
    ),
    Activation(
        name="hardtanh",
        code=2,
        f=lambda x, p: x.clamp(p[0], p[1]),
        derivative=lambda x, p: ((x > p[0]) & (x < p[1])).to(x.dtype),
        smooth=False,
        defaults={"min": -1.0, "max": 1.0},
        limits={"min must be at most max": lambda p: p[0] <= p[1]},
    ),
    Activation(
        name="sigmoid",
        code=3,
        f=lambda x, p: torch.sigmoid(x),
        derivative=derivatives.sigmoid,
        smooth=True,
    ),
    Activation(
        name="tanh",
        code=4,
        f=lambda x, p: torch.tanh(x),
        derivative=derivatives.tanh,
        smooth=True,
    ),
    Activation(
        name="threshold",
        code=5,
        f=lambda x, p: functional.threshold(x, p[0], p[1]),
        derivative=lambda x, p: (x > p[0]).to(x.dtype),
        smooth=False,
        defaults={"threshold": 0.0, "value": 0.0},
        limits={
            "threshold must be a number": lambda p: not math.isnan(p[0]),
            "value must be a finite number": lambda p: math.isfinite(p[1]),
        },
    ),
    Activation(
        name="leaky_relu",
        code=6,
        f=lambda x, p: functional.leaky_relu(x, p[0]),
        derivative=lambda x, p: torch.where(x > 0, 1, p[0]).to(x.dtype),
        smooth=True,
        defaults={"slope": 0.01},
        reach=derivatives.within_lines,
        limits={"slope must be a finite number": lambda p: math.isfinite(p[0])},
    ),
    Activation(
        name="elu",
        code=7,
        f=lambda x, p: torch.ops.aten.elu(x, *p),
        derivative=derivatives.elu,
        smooth=True,
        defaults={"alpha": 1.0, "scale": 1.0, "input_scale": 1.0},
        reach=derivatives.within_elu,
        limits={
            "alpha and scale must be finite numbers": lambda p: all(map(math.isfinite, p[:2])),
            "input_scale must be finite and above 0": lambda p: 0 < p[2] < math.inf,
        },
    ),
    Activation(
        name="gelu",
        code=8,
        f=lambda x, p: functional.gelu(x),
        derivative=derivatives.gelu,
        smooth=True,
    ),
    Activation(
        name="gelu_tanh",
        code=9,
        f=lambda x, p: functional.gelu(x, approximate="tanh"),
        derivative=derivatives.gelu_tanh,
        smooth=True,
    ),
    Activation(
        name="silu",
        code=10,
        f=lambda x, p: functional.silu(x),
        derivative=derivatives.silu,
        smooth=True,
    ),
    Activation(
        name="mish",
        code=11,
        f=lambda x, p: functional.mish(x),
        derivative=derivatives.mish,
        smooth=True,
    ),
    Activation(
        name="hardswish",
        code=12,
        f=lambda x, p: functional.hardswish(x),
        derivative=derivatives.hardswish,
        smooth=True,
        reach=derivatives.within_hard_pieces,
    ),
    Activation(
        name="hardsigmoid",
        code=13,
        f=lambda x, p: functional.hardsigmoid(x),
        derivative=lambda x, p: ((x > -3) & (x < 3)).to(x.dtype) / 6,
        smooth=True,
        reach=derivatives.within_hard_pieces,
    ),
    Activation(
        name="logsigmoid",
        code=14,
        f=lambda x, p: functional.logsigmoid(x),
        derivative=lambda x, p: torch.sigmoid(-x),
        smooth=True,
    ),
    Activation(
        name="softplus",
        code=15,
        f=lambda x, p: functional.softplus(x, p[0], p[1]),
        derivative=derivatives.softplus,
        smooth=True,
        defaults={"beta": 1.0, "threshold": 20.0},
        reach=derivatives.within_softplus,
        limits={
            "beta must be finite and above 0": lambda p: 0 < p[0] < math.inf,
            "threshold must be a number": lambda p: not math.isnan(p[1]),
        },
    ),
    Activation(
        name="softsign",
        code=16,
        f=lambda x, p: functional.softsign(x),
        derivative=lambda x, p: 1 / (1 + x.abs()) ** 2,
        smooth=True,
        reach=derivatives.within_softsign,
    ),
    Activation(
        name="exp",
        code=17,
        f=lambda x, p: torch.exp(x),
        derivative=lambda x, p: torch.exp(x),
        smooth=True,
    ),
    Activation(
        name="log",
        code=18,
        f=lambda x, p: torch.log(x),
        derivative=lambda x, p: 1 / x,
        smooth=True,
        reach=derivatives.near_to_zero,
        domain=lambda low, high, p: low > 0,
    ),
    Activation(
        name="sqrt",
        code=19,
        f=lambda x, p: torch.sqrt(x),
        derivative=lambda x, p: 0.5 / torch.sqrt(x),
        smooth=True,
        reach=derivatives.near_to_zero,
        domain=lambda low, high, p: low >= 0,
    ),
    Activation(
        name="square",
        code=20,
        f=lambda x, p: x * x,
        derivative=lambda x, p: 2 * x,
        smooth=True,
        reach=derivatives.anywhere,
    ),
    Activation(
        name="pow",
        code=21,
        f=lambda x, p: x.pow(p[0]),
        derivative=derivatives.power,
        smooth=True,
        defaults={"exponent": 2.0},
        reach=derivatives.near_to_zero_of_power,
        domain=derivatives.domain_of_power,
        limits={"exponent must be a finite number": lambda p: math.isfinite(p[0])},
    ),
    Activation(
        name="abs",
        code=22,
        f=lambda x, p: x.abs(),
        derivative=lambda x, p: x.sign(),
        smooth=False,
    ),
)

ACTIVATIONS = {activation.name: activation for activation in TABLE}
BY_CODE = {activation.code: activation for activation in TABLE}
