"""The operators in plain PyTorch: what the kernels must compute, and what runs where there is none.

Half types are computed in float32. Every result has the memory format of the tensor that it belongs
to (`z`, or `x`), as torch's own elementwise operators do it.

They are differentiable, by all arguments and more than once. So nothing is divided by 0, even where
the quotient is not taken: its gradient would be 0 times infinity.
"""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from .activations import BY_CODE, Activation

_HALF = (torch.float16, torch.bfloat16)


def lrp_ratio(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    denominator: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
    channel_dim: int,
    activation: int,
    parameters: Sequence[float],
) -> Tensor:
    """``R = multiplier * f(z) + amount``, ``d = denominator - bias``, ``s = R / (d ± epsilon)``."""
    f = BY_CODE[activation].f
    R = torch.zeros((), dtype=_accumulate(z).dtype, device=z.device)
    if multiplier is not None:
        R = _accumulate(multiplier) * f(_accumulate(z), parameters)
    if amount is not None:
        R = R + _accumulate(amount)
    d = _accumulate(z if denominator is None else denominator)
    if bias is not None:
        d = d - _accumulate(bias).reshape(_along(channel_dim, z.dim()))
    d = torch.where(d >= 0, d + epsilon, d - epsilon)
    nothing = (d == 0) | ((R == 0) & d.isnan())
    return _like(z, (R / d.masked_fill(nothing, 1)).masked_fill(nothing, 0))


def rescale(
    multiplier: Tensor, x: Tensor, x0: Tensor, activation: int, parameters: Sequence[float]
) -> Tensor:
    """``m_x = m_y * (f(x) - f(x0)) / (x - x0)``; close to x0, ``m_y * f'((x + x0) / 2)``."""
    function = BY_CODE[activation]
    m, a, b = _accumulate(multiplier), _accumulate(x), _accumulate(x0)
    f_a, f_b = function.f(a, parameters), function.f(b, parameters)
    slope = _slope_between(function, parameters, (b, f_b), (a, f_a), a - b)
    return _like(x, m * slope)


def reveal_cancel(
    positive: Tensor,
    negative: Tensor,
    P: Tensor,
    N: Tensor,
    x0: Tensor,
    x: Tensor | None,
    activation: int,
    parameters: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """``(positive * y+ / P, negative * y- / N)``, each the mean of two slopes of f.

    The points with one part alone are reckoned from the nearer of r and x. Where f is not defined
    from the least of the four points to the greatest, a part is what rounding left of 0, or a slope
    is infinite, both are the slope of Rescale.
    """
    function = BY_CODE[activation]
    p, n, r = _accumulate(P), _accumulate(N), _accumulate(x0)
    end = r + (p + n) if x is None else _accumulate(x)
    falls = p.abs() <= n.abs()
    points: tuple[Tensor, ...] = (
        r,
        torch.where(falls, r + p, end - n),
        torch.where(falls, end - p, r + n),
        end,
    )
    inside = _is_defined_among(points, function, parameters)
    if inside is not None:
        points = (r, *(torch.where(inside, point, r) for point in points[1:3]), end)
    none, only_P, only_N, both = ((x, function.f(x, parameters)) for x in points)

    def slope(start: tuple[Tensor, Tensor], end: tuple[Tensor, Tensor], step: Tensor) -> Tensor:
        return _slope_between(function, parameters, start, end, step)

    rising = (slope(none, only_P, p) + slope(only_N, both, p)) / 2
    falling = (slope(none, only_N, n) + slope(only_P, both, n)) / 2
    if inside is not None:
        apart = inside & ~_is_rounding(p, -n) & ~_is_rounding(-n, p)
        apart = apart & rising.isfinite() & falling.isfinite()
        together = slope(none, both, end - r)
        rising, falling = (torch.where(apart, t, together) for t in (rising, falling))
    return (
        _like(P, _along_slope(_accumulate(positive), rising)),
        _like(P, _along_slope(_accumulate(negative), falling)),
    )


def reveal_cancel_parts(
    P: Tensor,
    N: Tensor,
    x0: Tensor,
    x: Tensor | None,
    activation: int,
    parameters: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """``(y+, y-)``: what multipliers of 1 would bring."""
    return reveal_cancel(P, N, P, N, x0, x, activation, parameters)


def signed_reveal_cancel(
    positive: Tensor,
    negative: Tensor | None,
    x: Tensor,
    x0: Tensor,
    size: Tensor,
    activation: int,
    parameters: Sequence[float],
) -> tuple[Tensor, Tensor]:
    """``u, v = (m+ ± m-) / 2`` of `reveal_cancel`, with ``P, N = (x - x0 ± size) / 2``."""
    m = _accumulate(positive)
    other = m if negative is None else _accumulate(negative)
    a, r = _accumulate(x), _accumulate(x0)
    P, N = _parts(a, r, size)
    rising, falling = reveal_cancel(m, other, P, N, r, a, activation, parameters)
    return _like(x, (rising + falling) / 2), _like(x, (rising - falling) / 2)


def reveal_cancel_size(
    x: Tensor, x0: Tensor, size: Tensor, activation: int, parameters: Sequence[float]
) -> Tensor:
    """``y+ - y-`` of `reveal_cancel_parts`, with ``P, N = (x - x0 ± size) / 2``."""
    a, r = _accumulate(x), _accumulate(x0)
    rise, fall = reveal_cancel_parts(*_parts(a, r, size), r, a, activation, parameters)
    return _like(x, rise - fall)


def max_pool_winner(
    multiplier: Tensor,
    x: Tensor,
    x0: Tensor | None,
    kernel_size: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    ceil_mode: bool,
) -> Tensor:
    """The winner of a window gets the window's multiplier (LRP), or its share of it (DeepLIFT)."""
    missing = 5 - x.dim()
    ones, zeros = [1] * missing, [0] * missing

    def pool(volume: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = functional.max_pool3d(
            volume,
            ones + list(kernel_size),
            ones + list(stride),
            zeros + list(padding),
            ones + list(dilation),
            ceil_mode,
            return_indices=True,
        )
        return values, indices

    x_winners = pool(_volume(x))
    x0_winners = None if x0 is None else pool(_volume(x0))
    return _winner(multiplier, x, x0, x_winners, x0_winners)


def adaptive_max_pool_winner(multiplier: Tensor, x: Tensor, x0: Tensor | None) -> Tensor:
    """`max_pool_winner` over torch's adaptive windows, one for every element of the multiplier."""
    size = [1] * (5 - x.dim()) + list(multiplier.shape[2:])

    def pool(volume: Tensor) -> tuple[Tensor, Tensor]:
        values, indices = functional.adaptive_max_pool3d(volume, size, return_indices=True)
        return values, indices

    x_winners = pool(_volume(x))
    x0_winners = None if x0 is None else pool(_volume(x0))
    return _winner(multiplier, x, x0, x_winners, x0_winners)


def _slope_between(
    function: Activation,
    parameters: Sequence[float],
    start: tuple[Tensor, Tensor],
    end: tuple[Tensor, Tensor],
    step: Tensor,
) -> Tensor:
    """The slope of f from x0 to x, given ``(x0, f(x0))``, ``(x, f(x))`` and x - x0 unrounded."""
    (x0, f_x0), (x, f_x) = start, end
    difference = x - x0
    close = difference == 0
    if function.smooth:
        reach = 1 if function.reach is None else function.reach(x0, x, parameters)
        h = (24 * torch.finfo(x.dtype).eps) ** (1 / 3)
        close = close | (difference.abs() <= h * reach)
    derivative = function.derivative(x0 + step / 2, parameters)
    return torch.where(close, derivative, (f_x - f_x0) / difference.masked_fill(close, 1))


def _is_defined_among(
    points: Sequence[Tensor], function: Activation, parameters: Sequence[float]
) -> Tensor | None:
    """Whether f is defined from the least of the points to the greatest; None if it always is."""
    if function.domain is None:
        return None
    least, greatest = torch.stack(torch.broadcast_tensors(*points)).aminmax(dim=0)
    return function.domain(least, greatest, parameters)


def _is_rounding(part: Tensor, other: Tensor) -> Tensor:
    """Whether a part that should be 0 or more is below it by no more than the other was rounded."""
    return (part < 0) & (-part <= 8 * torch.finfo(part.dtype).eps * other.abs())


def _along_slope(amount: Tensor, slope: Tensor) -> Tensor:
    """``amount * slope``; nothing stays nothing where the slope is infinite."""
    return amount * slope.masked_fill((amount == 0) & slope.isinf(), 0)


def _winner(
    multiplier: Tensor,
    x: Tensor,
    x0: Tensor | None,
    x_winners: tuple[Tensor, Tensor],
    x0_winners: tuple[Tensor, Tensor] | None,
) -> Tensor:
    m = _accumulate(multiplier).flatten(2)
    values, i = (t.flatten(2) for t in x_winners)
    m_x = torch.zeros_like(_volume(x).flatten(2), memory_format=torch.contiguous_format)
    if x0 is None or x0_winners is None:
        m_x.scatter_add_(2, i, m)
        return _like(x, m_x.reshape(x.shape))

    values0, j = (t.flatten(2) for t in x0_winners)
    j = j.expand_as(i)
    D = values - values0
    difference = (_volume(x) - _volume(x0)).flatten(2)
    # D > 0 implies x_i - x0_i >= D, and D < 0 implies x0_j - x_j >= -D: no ratio exceeds 1.
    rise = difference.gather(2, i).masked_fill(~(D > 0), 1)
    fall = difference.gather(2, j).masked_fill(~(D < 0), 1)
    at_i = torch.where(D > 0, D / rise, ((D == 0) & (i == j)).to(m.dtype))
    at_j = torch.where(D < 0, D / fall, 0)
    m_x.scatter_add_(2, i, torch.where(at_i != 0, m * at_i, 0))
    m_x.scatter_add_(2, j, torch.where(at_j != 0, m * at_j, 0))
    return _like(x, m_x.reshape(x.shape))


def _parts(x: Tensor, x0: Tensor, size: Tensor) -> tuple[Tensor, Tensor]:
    """``P, N = (x - x0 ± size) / 2``."""
    total, size = x - x0, _accumulate(size)
    return (total + size) / 2, (total - size) / 2


def _accumulate(t: Tensor) -> Tensor:
    return t.float() if t.dtype in _HALF else t


def _volume(x: Tensor) -> Tensor:
    """(N, C, W), (N, C, H, W) or (N, C, D, H, W) as the last of these, in float32 or float64."""
    x = _accumulate(x)
    while x.dim() < 5:
        x = x.unsqueeze(2)
    return x


def _along(dim: int, dims: int) -> list[int]:
    shape = [1] * dims
    shape[dim] = -1
    return shape


def _like(owner: Tensor, result: Tensor) -> Tensor:
    """The result in its owner's dtype and memory format."""
    template = torch.empty_like(owner)
    result = result.to(owner.dtype)
    return result if result.stride() == template.stride() else template.copy_(result)
