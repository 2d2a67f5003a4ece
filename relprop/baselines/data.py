"""Baselines that say what inputs look like in general: their mean, and noise in their range."""

from __future__ import annotations

import torch
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError


def mean(data: Tensor) -> Tensor:
    """The mean example of a data set, a baseline common to all inputs.

    Contributions then say what sets an input apart from the average one.

    Args:
        data: shape (M, ...), floating point, one row an example.

    Returns:
        Shape (1, ...), in the type and on the device of `data`.

    Raises:
        InvalidInputError: `data` has no examples.
        InvalidTypeError: `data` is not a floating-point tensor.
    """
    _require_floating(data, "data")
    if data.dim() == 0 or len(data) == 0:
        raise InvalidInputError(
            f"data must hold one example or more, shape (M, ...); got {tuple(data.shape)}"
        )
    average: Tensor = data.mean(0, keepdim=True, dtype=_accumulator(data.dtype))
    return average.to(data.dtype)


def uniform(
    inputs: Tensor,
    low: float | Tensor,
    high: float | Tensor,
    samples: int,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Uniform noise in `low <= x <= high`: a distribution of baselines common to all inputs.

    Every element is drawn by itself, so that nothing is left of the inputs but their range
    (Sturmfels et al. 2020, *Visualizing the impact of feature attribution baselines*).

    Args:
        inputs: shape (N, ...), floating point; only its shape, type and device are used.
        low, high: bounds: numbers, or tensors that broadcast to an example, as (C, 1, 1) to images.
        samples: how many baselines to draw, >= 1.
        generator: where random numbers come from; None for torch's global one.

    Returns:
        Shape (samples, ...), in the type and on the device of `inputs`.

    Raises:
        InvalidInputError: `low` or `high` is not finite, does not fit an example, or `low > high`;
            `samples < 1`.
        InvalidTypeError: `inputs` is not a floating-point tensor, or `samples` not an int.
    """
    _require_floating(inputs, "inputs")
    check_samples(samples)
    dtype, shape = _accumulator(inputs.dtype), (samples, *inputs.shape[1:])
    bounds = [_bound(value, name, inputs, dtype) for value, name in ((low, "low"), (high, "high"))]
    if (bounds[0] > bounds[1]).any():
        raise InvalidInputError("low must not exceed high, but does in at least one place")
    noise = random(shape, dtype, generator, inputs.device)
    drawn = torch.lerp(bounds[0], bounds[1], noise).clamp(*bounds)
    return drawn.to(inputs.dtype)


def check_samples(samples: int) -> None:
    """Raise unless `samples` is a number of baselines that can be drawn."""
    if isinstance(samples, bool) or not isinstance(samples, int):
        raise InvalidTypeError(f"samples must be an int; got {type(samples).__name__}")
    if samples < 1:
        raise InvalidInputError(f"samples must be 1 or more; got {samples}")


def random(
    shape: tuple[int, ...],
    dtype: torch.dtype,
    generator: torch.Generator | None,
    device: torch.device,
) -> Tensor:
    """Uniform numbers in [0, 1), drawn where the generator lives and moved to `device`."""
    source = device if generator is None else generator.device
    return torch.rand(shape, generator=generator, dtype=dtype, device=source).to(device)


def _bound(value: float | Tensor, name: str, inputs: Tensor, dtype: torch.dtype) -> Tensor:
    bound = torch.as_tensor(value, dtype=dtype, device=inputs.device)
    if not torch.isfinite(bound).all():
        raise InvalidInputError(f"{name} must be finite; got {value!r}")
    try:
        return bound.broadcast_to((1, *inputs.shape[1:]))
    except RuntimeError:
        raise InvalidInputError(
            f"{name} must be a number or broadcast to an example of shape "
            f"{tuple(inputs.shape[1:])}; got shape {tuple(bound.shape)}"
        ) from None


def _require_floating(x: Tensor, name: str) -> None:
    if not isinstance(x, Tensor):
        raise InvalidTypeError(f"{name} must be a tensor; got {type(x).__name__}")
    if not x.is_floating_point():
        raise InvalidTypeError(f"{name} must be floating point, not {x.dtype}; convert them")


def _accumulator(dtype: torch.dtype) -> torch.dtype:
    """The type to compute in."""
    return dtype if dtype == torch.float64 else torch.float32
