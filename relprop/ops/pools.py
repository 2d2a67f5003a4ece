"""Shapley max pooling: every input of a window gets its fair part of the maximum's change.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
"""

from collections.abc import Sequence

from torch import Tensor

from . import arguments
from .library import call


def max_pool_shapley(
    positive: Tensor,
    x: Tensor,
    x0: Tensor,
    negative: Tensor | None = None,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling backwards for DeepLIFT, by exact Shapley values (Shapley 1953).

    The players of a window are its inputs, each of them at ``x_i`` or at its baseline ``x0_i``; the
    worth is the window's maximum. With ``b_i = max(x_i, x0_i)``, ``T = max_i min(x_i, x0_i)``, and
    ``p(t)``, ``n(t)`` the numbers of inputs that rose or fell and have ``b_i > t``::

        phi_i = + integral from T to b_i of dt / (p C(n + p, p))   where x_i > x0_i
        phi_i = - integral from T to b_i of dt / (n C(n + p, p))   where x_i < x0_i
        m_x_i = sum over windows of m * phi_i / (x_i - x0_i)

    with ``m`` the window's positive multiplier where ``x_i > x0_i``, its negative one where
    ``x_i < x0_i`` (Shrikumar et al. 2017, section 3.5.3, treat the two separately). In each window,
    ``phi`` sums to ``max x - max x0``, inputs that are alike get the same, and each ratio is in
    [0, 1]. An input that did not change gets nothing, but for one that is the maximum (the first in
    scan order) of both x and x0: it gets the mean of the two multipliers.

    Args:
        positive: the multiplier of the pool's rises, shaped like its output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.
        negative: the multiplier of the pool's falls, shaped like its output; None if it is the
            same.
        kernel_size, stride, padding, dilation, ceil_mode: the pool's, as in torch.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to, for one window and positive = negative = m::

        phi = torch.zeros(len(x))
        for order in itertools.permutations(range(len(x))):
            state = x0.clone()
            for i in order:
                before, state[i] = state.max(), x[i]
                phi[i] += (state.max() - before) / math.factorial(len(x))
        m_x = m * phi / (x - x0)
    """
    _check_sides(positive, x, x0, negative)
    windows = arguments.windows_of(x, kernel_size, stride, padding, dilation)
    arguments.check_windows(positive, x, windows, ceil_mode, "positive")
    m_x: Tensor = call("max_pool_shapley", positive, negative, x, x0, *windows, ceil_mode)
    return m_x


def adaptive_max_pool_shapley(
    positive: Tensor, x: Tensor, x0: Tensor, negative: Tensor | None = None
) -> Tensor:
    """`max_pool_shapley` for torch's adaptive max pools; positive has their output size.

    Args:
        positive: the multiplier of the pool's rises, shaped like its output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.
        negative: the multiplier of the pool's falls, shaped like its output; None if it is the
            same.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to: what is said at `max_pool_shapley`, over the windows of
    ``torch.nn.functional.adaptive_max_pool2d(x, positive.shape[2:])``.
    """
    _check_sides(positive, x, x0, negative)
    m_x: Tensor = call("adaptive_max_pool_shapley", positive, negative, x, x0)
    return m_x


def max_pool_shapley_parts(
    x: Tensor,
    x0: Tensor,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> tuple[Tensor, Tensor]:
    """The two parts of a max pool's change: what its rising and what its falling inputs bring.

    The parts of a window are the sums of `max_pool_shapley`'s ``phi_i`` over the inputs with
    ``x_i > x0_i`` and over those with ``x_i < x0_i``; the first is 0 or more, the second 0 or less,
    and together they are ``max x - max x0``. A RevealCancel rule after the pool (Shrikumar et al.
    2017, section 3.5.3) needs them.

    Args:
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.
        kernel_size, stride, padding, dilation, ceil_mode: the pool's, as in torch.

    Returns:
        The positive and the negative part, with the pool's output shape and x's dtype.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to, for one window::

        positive, negative = phi[x > x0].sum(), phi[x < x0].sum()
    """
    arguments.check_spatial(x)
    arguments.check_baseline(x0, x)
    windows = arguments.windows_of(x, kernel_size, stride, padding, dilation)
    arguments.check_filled(x, windows, ceil_mode)
    parts: tuple[Tensor, Tensor] = call("max_pool_shapley_parts", x, x0, *windows, ceil_mode)
    return parts


def adaptive_max_pool_shapley_parts(
    x: Tensor, x0: Tensor, *, output_size: int | Sequence[int]
) -> tuple[Tensor, Tensor]:
    """`max_pool_shapley_parts` for torch's adaptive max pools.

    Args:
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        x0: the baseline's input; shaped like x, or with size 1 in place of the first dimension.
        output_size: of the pool's spatial dimensions.

    Returns:
        The positive and the negative part, with the pool's output shape and x's dtype.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to, for one window::

        positive, negative = phi[x > x0].sum(), phi[x < x0].sum()
    """
    arguments.check_spatial(x)
    arguments.check_baseline(x0, x)
    size = arguments.per_dimension("output_size", output_size, x.dim() - 2, 1)
    parts: tuple[Tensor, Tensor] = call("adaptive_max_pool_shapley_parts", x, x0, size)
    return parts


def _check_sides(positive: Tensor, x: Tensor, x0: Tensor, negative: Tensor | None) -> None:
    arguments.check_pooled(positive, x, "positive")
    arguments.check_baseline(x0, x)
    if negative is not None:
        arguments.check_same_shape("negative", negative, "positive", positive)
