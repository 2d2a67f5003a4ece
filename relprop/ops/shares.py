"""Max pooling of LRP where it is not the maximum alone that takes a window's relevance.

The functions check their arguments and call the operator of the same name; see `relprop.ops`.
"""

from collections.abc import Sequence

from torch import Tensor

from . import arguments
from .library import call


def max_pool_shared(
    multiplier: Tensor,
    x: Tensor,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
) -> Tensor:
    """Max pooling backwards for LRP, where those that are equal to the maximum share.

    ::

        m_x_i = sum over windows j, of which x_i is the maximum, of m_j / n_j

    with ``n_j`` the number of inputs of window j that are its maximum. As the value of each is the
    pool's output ``y_j``, ``m_x * x`` sums to ``m * y``; and relevance as such passes the same way
    as relevance per unit. Padding is never the maximum.

    Args:
        multiplier: ``m``, shaped like the pool's output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        kernel_size, stride, padding, dilation, ceil_mode: the pool's, as in torch.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to, for one window::

        is_maximum = x == x.max()
        m_x = is_maximum * multiplier / is_maximum.sum()
    """
    arguments.check_pooled(multiplier, x)
    windows = arguments.windows_of(x, kernel_size, stride, padding, dilation)
    arguments.check_windows(multiplier, x, windows, ceil_mode)
    m_x: Tensor = call("max_pool_shared", multiplier, x, *windows, ceil_mode)
    return m_x


def adaptive_max_pool_shared(multiplier: Tensor, x: Tensor) -> Tensor:
    """`max_pool_shared` for torch's adaptive max pools; multiplier has their output size.

    Args:
        multiplier: shaped like the pool's output.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to: what is said at `max_pool_shared`, over the windows of
    ``torch.nn.functional.adaptive_max_pool2d(x, multiplier.shape[2:])``.
    """
    arguments.check_pooled(multiplier, x)
    m_x: Tensor = call("adaptive_max_pool_shared", multiplier, x)
    return m_x


def max_pool_proportional(
    multiplier: Tensor | None,
    amount: Tensor | None,
    x: Tensor,
    *,
    kernel_size: int | Sequence[int],
    stride: int | Sequence[int] | None = None,
    padding: int | Sequence[int] = 0,
    dilation: int | Sequence[int] = 1,
    ceil_mode: bool = False,
    epsilon: float = 0.0,
) -> Tensor:
    """Max pooling backwards for LRP, as if it were a sum: each input gets by its value.

    ::

        R_j = multiplier_j * y_j + amount_j,   y_j the maximum of window j
        z_j = sum of the window's x_i
        m_x_i = sum over windows j with x_i of R_j / (z_j + epsilon * sign(z_j)),   sign(0) = +1

    with nothing from a window whose ``R_j`` or stabilized sum is 0. It is the epsilon rule
    (Bach et al. 2015, eq. 58) of a layer whose weights are 1: ``R_i = x_i * m_x_i``. Padding is no
    input.

    Args:
        multiplier: relevance per unit of the pool's output, shaped like it; or None.
        amount: relevance as such, shaped like the pool's output; or None. One of the two must be
            given.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        kernel_size, stride, padding, dilation, ceil_mode: the pool's, as in torch.
        epsilon: the stabilizer.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to, for windows side by side and x of 0 or more::

        R = multiplier * torch.nn.functional.max_pool2d(x, k) + amount
        s = R / (torch.nn.functional.avg_pool2d(x, k, divisor_override=1) + epsilon)
        m_x = torch.nn.functional.interpolate(s, scale_factor=k)
    """
    _check_arriving(multiplier, amount, x, epsilon)
    windows = arguments.windows_of(x, kernel_size, stride, padding, dilation)
    for name, tensor in (("multiplier", multiplier), ("amount", amount)):
        if tensor is not None:
            arguments.check_windows(tensor, x, windows, ceil_mode, name)
    m_x: Tensor = call("max_pool_proportional", multiplier, amount, x, *windows, ceil_mode, epsilon)
    return m_x


def adaptive_max_pool_proportional(
    multiplier: Tensor | None, amount: Tensor | None, x: Tensor, *, epsilon: float = 0.0
) -> Tensor:
    """`max_pool_proportional` for torch's adaptive max pools.

    Args:
        multiplier: relevance per unit of the pool's output, shaped like it; or None.
        amount: relevance as such, shaped like the pool's output; or None. One of the two must be
            given.
        x: the pool's input, (batch, channels, and one to three spatial dimensions).
        epsilon: the stabilizer.

    Returns:
        The input's multiplier, with x's shape, dtype and memory format.

    Raises:
        TypeError, ValueError: if the arguments do not fit together.

    Equivalent to: what is said at `max_pool_proportional`, over the windows of
    ``torch.nn.functional.adaptive_max_pool2d(x, multiplier.shape[2:])``.
    """
    _check_arriving(multiplier, amount, x, epsilon)
    if multiplier is not None and amount is not None:
        arguments.check_same_shape("amount", amount, "multiplier", multiplier)
    m_x: Tensor = call("adaptive_max_pool_proportional", multiplier, amount, x, epsilon)
    return m_x


def _check_arriving(
    multiplier: Tensor | None, amount: Tensor | None, x: Tensor, epsilon: float
) -> None:
    if multiplier is None and amount is None:
        raise ValueError("multiplier or amount must be given, got None for both")
    for name, tensor in (("multiplier", multiplier), ("amount", amount)):
        if tensor is not None:
            arguments.check_pooled(tensor, x, name)
    if not epsilon >= 0:
        raise ValueError(f"epsilon must be 0 or more, got {epsilon}")
