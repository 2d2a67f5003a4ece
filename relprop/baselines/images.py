"""Baselines made from each input: the same picture with its evidence taken away.

Each function takes inputs of shape (N, C, *spatial) and returns baselines of the same shape, type
and device; `BASELINES` names them, for people who would rather write `baselines="blur"`.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError

BLUR_FRACTION = 1 / 16
"""Default standard deviation of `blur`, as a fraction of the shorter spatial side: 14 of 224."""


def blank(inputs: Tensor) -> Tensor:
    """Zeros: no signal at all. For inputs centred on the mean of the data, a uniform grey."""
    return torch.zeros_like(inputs)


def blur(inputs: Tensor, sigma: float | None = None) -> Tensor:
    """The inputs seen out of focus: colours and lighting stay, whatever has a shape goes.

    A Gaussian of standard deviation `sigma` is applied along every spatial dimension in turn, the
    picture being mirrored at its borders, so that a constant input is left alone and the sum over
    the spatial dimensions is kept. The Gaussian is the discrete one (Lindeberg 1990): its weights
    are positive, sum to 1 and have variance `sigma ** 2` at every width, however narrow. Its
    Fourier series is exp(sigma^2 (cos w - 1)), so the cost does not grow with `sigma`.

    Args:
        inputs: shape (N, C, *spatial), floating point, with at least one spatial dimension.
        sigma: in pixels, >= 0; `None` takes `BLUR_FRACTION` of the shorter spatial side.

    Raises:
        InvalidInputError: `inputs` has no spatial dimension, or `sigma` is negative or not finite.
        InvalidTypeError: `inputs` is not floating point.
    """
    if not inputs.is_floating_point():
        raise InvalidTypeError(
            f"a blurred baseline needs floating-point inputs, not {inputs.dtype}; convert them"
        )
    if inputs.dim() < 3:
        raise InvalidInputError(
            "a blurred baseline needs inputs of shape (N, C, *spatial), "
            f"not {tuple(inputs.shape)}; use 'blank' instead"
        )
    if sigma is None:
        sigma = BLUR_FRACTION * min(inputs.shape[2:])
    if not (math.isfinite(sigma) and sigma >= 0):
        raise InvalidInputError(f"sigma must be a finite number of pixels >= 0, not {sigma}")
    blurred = inputs if inputs.dtype == torch.float64 else inputs.float()
    for dim in range(2, inputs.dim()):
        blurred = _blur_along(blurred, dim, sigma)
    return blurred.to(inputs.dtype).contiguous()


def _blur_along(x: Tensor, dim: int, sigma: float) -> Tensor:
    """`x` smoothed along `dim`; mirrored, it repeats every 2n, so that Fourier series multiply."""
    n = x.shape[dim]
    if n == 0:
        return x
    mirrored = torch.cat([x, x.flip(dim)], dim)
    frequency = torch.fft.rfftfreq(2 * n, 1 / (2 * math.pi), dtype=x.dtype, device=x.device)
    response = torch.exp(sigma**2 * (torch.cos(frequency) - 1))
    spectrum = torch.fft.rfft(mirrored, dim=dim)
    spectrum = spectrum * response.view(-1, *[1] * (x.dim() - dim - 1))
    smooth: Tensor = torch.fft.irfft(spectrum, 2 * n, dim=dim)
    return smooth.narrow(dim, 0, n)


BASELINES: dict[str, Callable[[Tensor], Tensor]] = {"blank": blank, "blur": blur}
"""The baselines that have a name: one line each."""
