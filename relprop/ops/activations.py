"""The elementwise functions that every operator knows: one table, read by all of them.

A function has a name (what a user writes), a code (what crosses the operator's schema, and what
`csrc/activations.h` lists beside its C++ twin), its parameters with their defaults, and its
derivative, in torch's own convention where it has a kink. To add one, add a row here and a row
there.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor

Elementwise = Callable[[Tensor, Sequence[float]], Tensor]


@dataclass(frozen=True)
class Activation:
    """One elementwise function ``f``.

    Attributes:
        name: what a user writes.
        code: its number in `csrc/activations.h`.
        f: ``f(x, parameters)``.
        derivative: ``f'(x, parameters)``; where f has a kink, what torch's autograd gives.
        smooth: whether ``f'`` is continuous; false for piecewise linear functions.
        defaults: its parameters, by name, in order.
    """

    name: str
    code: int
    f: Elementwise
    derivative: Elementwise
    smooth: bool
    defaults: dict[str, float] = field(default_factory=dict)


def _sigmoid_derivative(x: Tensor, p: Sequence[float]) -> Tensor:
    y = torch.sigmoid(x)
    return y * (1 - y)


def _tanh_derivative(x: Tensor, p: Sequence[float]) -> Tensor:
    y = torch.tanh(x)
    return 1 - y * y


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
    ),
    Activation(
        name="sigmoid",
        code=3,
        f=lambda x, p: torch.sigmoid(x),
        derivative=_sigmoid_derivative,
        smooth=True,
    ),
    Activation(
        name="tanh",
        code=4,
        f=lambda x, p: torch.tanh(x),
        derivative=_tanh_derivative,
        smooth=True,
    ),
)

ACTIVATIONS = {activation.name: activation for activation in TABLE}
BY_CODE = {activation.code: activation for activation in TABLE}
