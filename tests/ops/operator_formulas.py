"""The papers' formulas, one number at a time, written without a look at the package's code."""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence

import torch
from function_formulas import slope, value
from mpmath import mpf
from torch import Tensor


def rescale(multiplier: Tensor, x: Tensor, x0: Tensor, activation: str) -> Tensor:
    """Shrikumar et al. 2017: m_x = m_y * (delta y / delta x)."""
    result = torch.empty(x.shape, dtype=torch.float64)
    for place in itertools.product(*map(range, x.shape)):
        a, b = x[place].item(), x0.expand_as(x)[place].item()
        result[place] = multiplier[place].item() * slope(activation, b, a)
    return result


def lrp_ratio(
    multiplier: Tensor | None,
    amount: Tensor | None,
    z: Tensor,
    denominator: Tensor | None,
    bias: Tensor | None,
    epsilon: float,
    channel_dim: int,
    activation: str,
) -> Tensor:
    """Bach et al. 2015, eq. 58: R_j / (z_j + epsilon * sign(z_j))."""
    result = torch.empty(z.shape, dtype=torch.float64)
    for place in itertools.product(*map(range, z.shape)):
        R = 0.0
        if multiplier is not None:
            R += multiplier[place].item() * float(value(activation, z[place].item()))
        if amount is not None:
            R += amount[place].item()
        d = (z if denominator is None else denominator)[place].item()
        if bias is not None:
            d -= bias[place[channel_dim]].item()
        result[place] = R / (d + epsilon * (1 if d >= 0 else -1)) if R != 0 else 0.0
    return result


def reveal_cancel_parts(P: Tensor, N: Tensor, x0: Tensor, activation: str) -> tuple[Tensor, Tensor]:
    """Shrikumar et al. 2017, section 3.5.3, to 60 digits."""
    positive, negative = torch.empty(2, *P.shape, dtype=torch.float64)
    for place in itertools.product(*map(range, P.shape)):
        p, n, r = (mpf(t.expand_as(P)[place].item()) for t in (P, N, x0))
        f_r, f_p, f_n, f_pn = (value(activation, x) for x in (r, r + p, r + n, r + p + n))
        positive[place] = float((f_p - f_r + f_pn - f_n) / 2)
        negative[place] = float((f_n - f_r + f_pn - f_p) / 2)
    return positive, negative


Window = list[tuple[int, ...]]


def fixed_window(
    o: Sequence[int],
    shape: Sequence[int],
    kernel: Sequence[int],
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
) -> Window:
    """The inputs of one window in scan order; padding is left out."""
    along = [
        [o[d] * stride[d] - padding[d] + k * dilation[d] for k in range(kernel[d])]
        for d in range(len(shape))
    ]
    return [
        place
        for place in itertools.product(*along)
        if all(0 <= place[d] < shape[d] for d in range(len(shape)))
    ]


def adaptive_window(o: Sequence[int], shape: Sequence[int], size: Sequence[int]) -> Window:
    """From floor(o * L / size) to ceil((o + 1) * L / size)."""
    along = [
        range(math.floor(o[d] * shape[d] / size[d]), math.ceil((o[d] + 1) * shape[d] / size[d]))
        for d in range(len(shape))
    ]
    return list(itertools.product(*along))


def windows(multiplier: Tensor) -> Iterator[tuple[int, int, tuple[int, ...]]]:
    batch, channels, *size = multiplier.shape
    for n, c in itertools.product(range(batch), range(channels)):
        for o in itertools.product(*map(range, size)):
            yield n, c, o


def max_pool_winner(
    multiplier: Tensor, x: Tensor, x0: Tensor | None, window_of: Callable[..., Window]
) -> Tensor:
    """The winner takes all of a window; DeepLIFT: of the difference of the two maxima."""
    result = torch.zeros(x.shape, dtype=torch.float64)
    for n, c, o in windows(multiplier):
        window = window_of(o)
        if not window:
            continue
        m = multiplier[(n, c, *o)].item()
        values = [x[(n, c, *place)].item() for place in window]
        i = values.index(max(values))
        if x0 is None:
            result[(n, c, *window[i])] += m
            continue
        values0 = [x0.expand_as(x)[(n, c, *place)].item() for place in window]
        j = values0.index(max(values0))
        D = max(values) - max(values0)
        if D > 0:
            result[(n, c, *window[i])] += m * D / (values[i] - values0[i])
        elif D < 0:
            result[(n, c, *window[j])] += m * D / (values[j] - values0[j])
        elif i == j:
            result[(n, c, *window[i])] += m
    return result
