"""The operators, as data: what they are called with, and by how much they may miss their limits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from relprop.ops.arguments import activation_of
from relprop.ops.library import REFERENCES

Shape = tuple[int, ...]
Arguments = tuple[Any, ...]

PICTURE = (1, 64, 224, 224)
SMALL_PICTURE = (2, 3, 13, 14)
FC6 = (1, 25088, 4096)
"""Examples, inputs and outputs of VGG16's first dense layer."""


@dataclass(frozen=True)
class Operator:
    """One operator on one kind of arguments.

    Attributes:
        name: in `torch.ops.relprop`.
        variant: what sets it apart from its other rows.
        make: the operator's arguments, for a shape.
        limit: a name in `benchmarks.cost.limits.LIMITS`: what to hold it against.
        most: the goal, in times of the limit; None where there is none.
        shape: of what is timed. small: of what is checked.
    """

    name: str
    variant: str
    make: Callable[[Shape], Arguments]
    limit: str = "copy"
    most: float | None = None
    shape: Shape = PICTURE
    small: Shape = SMALL_PICTURE

    def __str__(self) -> str:
        return f"{self.name}, {self.variant}" if self.variant else self.name

    def arguments(self, shape: Shape) -> Arguments:
        """The same every time."""
        torch.manual_seed(3)
        return self.make(shape)

    def call(self, arguments: Arguments) -> tuple[Tensor, ...]:
        """By what the dispatcher finds."""
        return _as_tuple(getattr(torch.ops.relprop, self.name)(*arguments))

    def reference(self, arguments: Arguments) -> tuple[Tensor, ...]:
        """In plain PyTorch."""
        return _as_tuple(self.plain(*arguments))

    @property
    def plain(self) -> Callable[..., Any]:
        """The specification."""
        module = next(module for module in REFERENCES if hasattr(module, self.name))
        function: Callable[..., Any] = getattr(module, self.name)
        return function


def _as_tuple(found: Any) -> tuple[Tensor, ...]:
    return found if isinstance(found, tuple) else (found,)


def bytes_moved(arguments: Arguments, results: tuple[Tensor, ...]) -> int:
    """What has to be read and written at least."""
    return sum(t.nbytes for t in (*arguments, *results) if isinstance(t, Tensor))


def _ratio(shape: Shape, *, activation: str, bias: bool) -> Arguments:
    code, parameters = _activation(activation)
    m, z = torch.randn(shape), torch.randn(shape)
    return m, None, z, None, torch.randn(shape[1]) if bias else None, 1e-6, 1, code, parameters


def _signed_ratio(shape: Shape, *, activation: str) -> Arguments:
    m, z = torch.randn(shape), torch.randn(shape)
    size = z.abs() + torch.rand(shape)
    return m, None, z, size, 1.0, 0.25, 1e-6, *_activation(activation)


def _rescale(shape: Shape, *, activation: str) -> Arguments:
    m, x, x0 = torch.randn(shape), torch.randn(shape), torch.randn(1, *shape[1:])
    return m, x, x0, *_activation(activation)


def _parts(shape: Shape, *, activation: str) -> Arguments:
    P, N, x0 = torch.rand(shape), -torch.rand(shape), torch.randn(1, *shape[1:])
    return P, N, x0, None, *_activation(activation)


def _size(shape: Shape, *, activation: str) -> Arguments:
    x, x0 = torch.randn(shape), torch.randn(1, *shape[1:])
    return x, x0, (x - x0).abs() + torch.rand(shape), *_activation(activation)


def _signed_reveal_cancel(shape: Shape, *, activation: str) -> Arguments:
    return torch.randn(shape), None, *_size(shape, activation=activation)


def _reveal_cancel(shape: Shape, *, activation: str) -> Arguments:
    return torch.randn(shape), torch.randn(shape), *_parts(shape, activation=activation)


def _activation(name: str) -> tuple[int, list[float]]:
    function, parameters = activation_of(name, ())
    return function.code, parameters


def _windows(size: int) -> Arguments:
    """Size, stride 2, padding, dilation and ceil mode."""
    return [size] * 2, [2] * 2, [0] * 2, [1] * 2, False


def _pooled(x: Tensor, size: int) -> Tensor:
    return functional.max_pool2d(x, size, 2)


def _winner(shape: Shape, *, size: int, baseline: bool) -> Arguments:
    x = torch.randn(shape)
    x0 = torch.randn(1, *shape[1:]) if baseline else None
    return torch.randn_like(_pooled(x, size)), x, x0, *_windows(size)


def _shared(shape: Shape, *, size: int) -> Arguments:
    x = torch.randn(shape).relu()
    return torch.randn_like(_pooled(x, size)), x, *_windows(size)


def _proportional(shape: Shape, *, size: int) -> Arguments:
    """As behind a ReLU, where sums of a window are no small differences."""
    x = torch.rand(shape)
    return torch.randn_like(_pooled(x, size)), None, x, *_windows(size), 1e-6


def _shapley(shape: Shape, *, size: int) -> Arguments:
    x, x0 = torch.randn(shape), torch.randn(1, *shape[1:])
    m = _pooled(x, size)
    return torch.randn_like(m), torch.randn_like(m), x, x0, *_windows(size)


def _shapley_parts(shape: Shape, *, size: int) -> Arguments:
    return torch.randn(shape), torch.randn(1, *shape[1:]), *_windows(size)


def _halved(shape: Shape) -> list[int]:
    return [shape[2] // 2, shape[3] // 2]


def _adaptive_winner(shape: Shape) -> Arguments:
    return torch.randn(*shape[:2], *_halved(shape)), torch.randn(shape), None


def _adaptive_shared(shape: Shape) -> Arguments:
    return torch.randn(*shape[:2], *_halved(shape)), torch.randn(shape).relu()


def _adaptive_proportional(shape: Shape) -> Arguments:
    return torch.randn(*shape[:2], *_halved(shape)), None, torch.rand(shape), 1e-6


def _adaptive_shapley(shape: Shape) -> Arguments:
    m = (torch.randn(*shape[:2], *_halved(shape)) for _ in range(2))
    return *m, torch.randn(shape), torch.randn(1, *shape[1:])


def _adaptive_shapley_parts(shape: Shape) -> Arguments:
    return torch.randn(shape), torch.randn(1, *shape[1:]), _halved(shape)


def _signed(shape: Shape) -> Arguments:
    examples, inputs, outputs = shape
    return torch.randn(examples, inputs), torch.randn(outputs, inputs)


def _signed_backward(shape: Shape) -> Arguments:
    examples, _, outputs = shape
    return torch.randn(examples, outputs), torch.randn(examples, outputs), *_signed(shape)


def _filters(shape: Shape) -> Tensor:
    """As many outputs as inputs, 3x3."""
    return torch.randn(shape[1], shape[1], 3, 3) / shape[1]


def _last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last)


def _winograd(shape: Shape, *, negative: float, transposed: bool) -> Arguments:
    return _last(torch.randn(shape)), _filters(shape), None, [1, 1], 1.0, negative, transposed


def _pointwise(shape: Shape, *, transposed: bool, apart: bool) -> Arguments:
    """A third as many outputs; back in two parts, or whole."""
    channels = (shape[1], shape[1] // 3) if transposed else (shape[1] // 3, shape[1])
    x, weight = _last(torch.randn(shape)), torch.randn(*channels, 1, 1) / shape[1]
    parts = (2.0, 0.0) if apart else (1.0, 1.0)
    return x, weight, None, *parts, transposed, x.flip(3) if apart else None, 0.0, -1.0


def _few_channels(shape: Shape) -> Arguments:
    size = [2 * n for n in shape[2:]]
    weight = torch.randn(shape[1], 3, 7, 7) / shape[1]
    return _last(torch.randn(shape)), weight, size, [2, 2], [3, 3], 1.0, 1.0, None, 1.0, 1.0


GEOMETRY: Arguments = ([1, 1], [1, 1], [1, 1], False, [0, 0], 1)


def _signed_convolution(shape: Shape) -> Arguments:
    d, w = _last(torch.randn(shape)), _last(_filters(shape))
    return d.clamp(min=0), d.clamp(max=0), w, w.abs(), *GEOMETRY


def _signed_convolution_backward(shape: Shape) -> Arguments:
    p, n, w, magnitude, *geometry = _signed_convolution(shape)
    return p, n, w, magnitude, list(shape[2:]), *geometry


ELEMENTWISE = 1 / 0.8
"""Times of a copy: 80 % of its bandwidth."""
SHAPLEY = {2: 4.0, 3: 12.0}
DENSE: dict[str, Any] = {"shape": FC6, "small": (3, 70, 11), "limit": "F.linear", "most": 1.15}
ADAPTIVE = "adaptive_max_pool2d"

OPERATORS: tuple[Operator, ...] = (
    *(
        Operator(
            "lrp_ratio",
            "relu" + ", bias" * b,
            partial(_ratio, activation="relu", bias=b),
            most=ELEMENTWISE,
        )
        for b in (False, True)
    ),
    *(
        Operator(name, a, partial(_signed_ratio, activation=a), most=ELEMENTWISE)
        for name, a in (("signed_ratio", "relu"), ("signed_ratio_apart", "identity"))
    ),
    *(
        Operator("rescale", a, partial(_rescale, activation=a), most=ELEMENTWISE)
        for a in ("relu", "sigmoid")
    ),
    *(
        Operator(name, a, partial(make, activation=a), most=ELEMENTWISE)
        for name, make in (
            ("reveal_cancel", _reveal_cancel),
            ("reveal_cancel_parts", _parts),
            ("signed_reveal_cancel", _signed_reveal_cancel),
            ("reveal_cancel_size", _size),
        )
        for a in ("relu", "sigmoid")
    ),
    *(
        Operator(
            "max_pool_winner",
            f"{size}x{size}" + ", baseline" * b,
            partial(_winner, size=size, baseline=b),
            f"max_pool2d {size}x{size}",
        )
        for size in (2, 3)
        for b in (False, True)
    ),
    *(
        Operator(name, f"{n}x{n}", partial(make, size=n), f"max_pool2d {n}x{n}")
        for name, make in (("max_pool_shared", _shared), ("max_pool_proportional", _proportional))
        for n in (2, 3)
    ),
    *(
        Operator(name, f"{n}x{n}", partial(make, size=n), f"max_pool2d {n}x{n}", SHAPLEY[n])
        for name, make in (
            ("max_pool_shapley", _shapley),
            ("max_pool_shapley_parts", _shapley_parts),
        )
        for n in (2, 3)
    ),
    Operator("adaptive_max_pool_winner", "", _adaptive_winner, ADAPTIVE),
    Operator("adaptive_max_pool_shared", "", _adaptive_shared, ADAPTIVE),
    Operator("adaptive_max_pool_proportional", "", _adaptive_proportional, ADAPTIVE),
    Operator("adaptive_max_pool_shapley", "", _adaptive_shapley, ADAPTIVE),
    Operator("adaptive_max_pool_shapley_parts", "", _adaptive_shapley_parts, ADAPTIVE),
    *(
        Operator(
            "winograd_convolution",
            f"{shape[1]} channels, {variant}",
            partial(_winograd, negative=negative, transposed=transposed),
            "conv2d",
            shape=shape,
            small=(2, 5, 9, 10),
        )
        for shape in (PICTURE, (1, 256, 56, 56), (1, 512, 14, 14))
        for variant, negative, transposed in (("W", 1.0, False), ("|W| back", -1.0, True))
    ),
    *(
        Operator(
            "pointwise_convolution",
            f"{shape[1]} channels, {variant}",
            partial(_pointwise, transposed=transposed, apart=apart),
            "conv2d 1x1",
            shape=shape,
            small=(2, 6, 9, 10),
        )
        for shape in ((1, 192, 56, 56), (1, 768, 14, 14))
        for variant, transposed, apart in (
            ("W", False, False),
            ("W back", True, False),
            ("2 W+ and -W- back", True, True),
        )
    ),
    Operator(
        "few_channel_transpose",
        "64 channels to 3",
        _few_channels,
        "conv2d 7x7 back",
        shape=(1, 64, 112, 112),
        small=(2, 5, 9, 10),
    ),
    Operator("signed_convolution", "", _signed_convolution, "conv2d", 2.0),
    Operator("signed_convolution_backward", "", _signed_convolution_backward, "conv2d", 2.0),
    Operator("signed_linear", "fc6", _signed, **DENSE),
    Operator("signed_linear_backward", "fc6", _signed_backward, **DENSE),
)
"""Every operator at least once."""
