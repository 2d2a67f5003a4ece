"""Tensor operators under the rules: one fused kernel each, with a plain PyTorch twin.

Every function checks its arguments and calls the operator of the same name in
``torch.ops.relprop``, which the dispatcher serves by a kernel where one is built and by
`relprop.ops.reference` elsewhere; `backends` says which. They work on fake and meta tensors and
under ``torch.compile``. For arguments that require a gradient, wherever torch records one, the
functions take the reference, which can be differentiated as often as one likes; the operators in
``torch.ops.relprop`` themselves have no gradients.
"""

from collections.abc import Sequence

from torch import Tensor

from . import arguments
from .activations import ACTIVATIONS, Activation
from .backends import Backends, backends
from .convolution import signed_convolution, signed_convolution_backward
from .convolution_timing import ConvolutionChoices, convolution_choices
from .dense import signed_linear, signed_linear_backward
from .few_channels import few_channel_transpose
from .kernel_timing import KernelTiming, time_copy, time_kernel
from .library import call, load
from .parts import (
    reveal_cancel,
    reveal_cancel_parts,
    reveal_cancel_size,
    signed_reveal_cancel,
)
from .pointwise import pointwise_convolution
from .pools import (
    adaptive_max_pool_shapley,
    adaptive_max_pool_shapley_parts,
    max_pool_shapley,
    max_pool_shapley_parts,
)
from .ratios import signed_ratio, signed_ratio_apart
from .shares import (
    adaptive_max_pool_proportional,
    adaptive_max_pool_shared,
    max_pool_proportional,
    max_pool_shared,
)
from .tensor_cores import fused_convolution, fused_convolution_pair
from .winograd import winograd_convolution

__all__ = [
    "ACTIVATIONS",
    "Activation",
    "Backends",
    "ConvolutionChoices",
    "KernelTiming",
    "adaptive_max_pool_proportional",
    "adaptive_max_pool_shapley",
    "adaptive_max_pool_shapley_parts",
    "adaptive_max_pool_shared",
    "adaptive_max_pool_winner",
    "backends",
    "convolution_choices",
    "few_channel_transpose",
    "fused_convolution",
    "fused_convolution_pair",
    "lrp_ratio",
    "max_pool_proportional",
    "max_pool_shapley",
    "max_pool_shapley_parts",
    "max_pool_shared",
    "max_pool_winner",
    "pointwise_convolution",
    "rescale",
    "reveal_cancel",
    "reveal_cancel_parts",
    "reveal_cancel_size",
    "signed_convolution",
    "signed_convolution_backward",
    "signed_linear",
    "signed_linear_backward",
    "signed_ratio",
    "signed_ratio_apart",
    "signed_reveal_cancel",
    "time_copy",
    "time_kernel",
    "winograd_convolution",
]

load()


def lrp_ratio(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    denominator: Tensor | None = None,
    bias: Tensor | None = None,
    *,
    epsilon: float = 0.0,
    channel_dim: int = 1,
    activation: str = "identity",
    parameters: Sequence[float] = (),
) -> Tensor:
    """The step of LRP between two layers: from what left one layer to what enters the next.

    ::

        R = multiplier * f(z) + amount
        d = (denominator, else z) - bias
        s = R / (d + epsilon * sign(d)),   sign(0) = +1

    with ``s = 0`` wherever ``R`` or the stabilized denominator is 0. (Bach et al. 2015, eq. 58;
    Montavon et al. 2019, step 2.)

    Args:
        multiplier: relevance per unit of ``f(z)``, shaped like z; or None.
        amount: relevance as such, shaped like z; or None. One of the two must be given.
        z: pre-activations, any shape.
        denominator: what to divide by, where it is not z itself; shaped like z.
        bias: left out of the denominator: a vector along ``channel_dim`` of z.
        epsilon: the stabilizer.
        channel_dim: the dimension of z that bias runs along; may be negative.
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``s``, with z's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        R = multiplier * f(z) + amount
        d = denominator - bias.reshape(-1, 1, 1)
        d = torch.where(d >= 0, d + epsilon, d - epsilon)
        s = torch.where((R == 0) | (d == 0), 0, R / d)
    """
    arguments.check_relevance(multiplier, amount, z)
    if denominator is not None:
        arguments.check_same_shape("denominator", denominator, "z", z)
    if bias is not None:
        arguments.check_bias(bias, z, channel_dim)
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")
    f, p = arguments.activation_of(activation, parameters)
    s: Tensor = call(
        "lrp_ratio", multiplier, amount, z, denominator, bias, epsilon, channel_dim, f.code, p
    )
    return s


def rescale(
    multiplier: Tensor,
    x: Tensor,
    x0: Tensor,
    *,
    activation: str,
    parameters: Sequence[float] = (),
) -> Tensor:
    """DeepLIFT's Rescale rule for an elementwise function (Shrikumar et al. 2017, section 3.5.2).

    ::

        m_x = m_y * (f(x) - f(x0)) / (x - x0)

    so that ``m_x * (x - x0)`` sums to ``m_y * (f(x) - f(x0))``. Where x is close to x0 the secant
    turns into the derivative: for a piecewise linear f, at x = x0 alone; for a smooth one, where
    ``|x - x0| <= h``, the derivative at the midpoint, with ``h = cbrt(24 * eps)``, at which the
    secant's rounding error (eps / h) meets the midpoint's truncation error (h^2 / 24). Functions
    that are not curved like sigmoid, or have a kink, say by their `Activation.reach` how many
    times h it is: log near 0, softplus by its beta, elu on the two sides of 0.

    Args:
        multiplier: ``m_y``, shaped like x.
        x: what f was applied to, any shape.
        x0: the baseline's; shaped like x, or with size 1 in place of the first dimension (a
            baseline common to the batch, which is not copied along it).
        activation: ``f``, by its name in `ACTIVATIONS`.
        parameters: of ``f``; missing ones take their defaults.

    Returns:
        ``m_x``, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to::

        close = (x - x0).abs() <= h    # x == x0 if f is piecewise linear
        m_x = multiplier * torch.where(close, f_prime((x + x0) / 2), (f(x) - f(x0)) / (x - x0))
    """
    arguments.check_floating("x", x)
    arguments.check_same_shape("multiplier", multiplier, "x", x)
    arguments.check_baseline(x0, x)
    f, p = arguments.activation_of(activation, parameters)
    m_x: Tensor = call("rescale", multiplier, x, x0, f.code, p)
    return m_x


def max_pool_winner(
    multiplier: Tensor,
    x: Tensor,
    x0: Tensor | None = None,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling backwards, the winner taking all: for LRP, or for DeepLIFT if x0 is given.

    Without x0 (LRP), the maximum of each window gets the window's multiplier; where windows
    overlap, they add up. Ties go to the first maximum in scan order, and padding never wins, as
    in torch.

    With x0 (DeepLIFT), let ``D = max x - max x0`` in one window, ``i = argmax x``,
    ``j = argmax x0``. The window adds ::

        D > 0:  m * D / (x_i - x0_i)  to input i
        D < 0:  m * D / (x_j - x0_j)  to input j
        D = 0:  m                     to input i, if i = j

    so that ``m_x * (x - x0)`` sums to ``m * D`` exactly. It is safe to divide: ``x0_i <= max x0``
    gives ``x_i - x0_i >= D``, and ``x_j <= max x`` gives ``x0_j - x_j >= -D``; each ratio is in
    (0, 1].

    Args:
        multiplier: shaped like the pool's output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.
        kernel_size, stride, padding, dilation, ceil_mode: the pool's, as in torch.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to (without x0)::

        y, i = torch.nn.functional.max_pool2d(x, kernel_size, ..., return_indices=True)
        m_x = torch.zeros_like(x).flatten(2)
        m_x.scatter_add_(2, i.flatten(2), multiplier.flatten(2))
    """
    arguments.check_pooled(multiplier, x)
    if x0 is not None:
        arguments.check_baseline(x0, x)
    windows = arguments.windows_of(x, kernel_size, stride, padding, dilation)
    arguments.check_windows(multiplier, x, windows, ceil_mode)
    m_x: Tensor = call("max_pool_winner", multiplier, x, x0, *windows, ceil_mode)
    return m_x


def adaptive_max_pool_winner(multiplier: Tensor, x: Tensor, x0: Tensor | None = None) -> Tensor:
    """`max_pool_winner` for torch's adaptive max pools; multiplier has their output size.

    Along a dimension of length L with o outputs, window i reaches from ``floor(i * L / o)`` to
    ``ceil((i + 1) * L / o)``, so neighbours may overlap. An output size of 1 is global max pooling.

    Args:
        multiplier: shaped like the pool's output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to (without x0)::

        y, i = torch.nn.functional.adaptive_max_pool2d(x, output_size, return_indices=True)
        m_x = torch.zeros_like(x).flatten(2)
        m_x.scatter_add_(2, i.flatten(2), multiplier.flatten(2))
    """
    arguments.check_pooled(multiplier, x)
    if x0 is not None:
        arguments.check_baseline(x0, x)
    m_x: Tensor = call("adaptive_max_pool_winner", multiplier, x, x0)
    return m_x
