"""zennit's attribution by occlusion."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relprop.compat.zennit.attributor import Attributor, AttrOutput
from relprop.compat.zennit.core import Composite
from relprop.compat.zennit.methods import Seed, checked_seed
from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.capture import evaluating


def occlude_independent(
    input: Tensor,
    mask: Tensor,
    fill_fn: Callable[[Tensor], Tensor] = torch.zeros_like,
    invert: bool = False,
) -> Tensor:
    """The input where `mask` is set, elsewhere what `fill_fn` makes of it; or with `invert` not."""
    kept = ~mask if invert else mask
    return torch.where(kept, input, fill_fn(input))


class Occlusion(Attributor):
    """The score of what a window leaves of the input, given to the window's elements.

    Args:
        model, composite, attr_output, output, unsupported: as in `Attributor`; a composite has no
            part in this.
        occlusion_fn: a function of the input and a mask that is set within the window; None keeps
            what is within, and puts zeros elsewhere.
        window: the window's size, for the last dimensions as many as there are numbers; one number
            for all but the first.
        stride: how far from one window to the next, in the same way; where there is no number, as
            far as the window is wide.

    Raises:
        InvalidTypeError: `window` or `stride` is no int and no tuple of ints. InvalidInputError:
            one of them is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: AttrOutput = None,
        occlusion_fn: Callable[[Tensor, Tensor], Tensor] | None = None,
        window: int | tuple[int, ...] = 8,
        stride: int | tuple[int, ...] = 8,
        **settings: Any,
    ) -> None:
        super().__init__(model, composite, attr_output, **settings)
        self.occlusion_fn = occlude_independent if occlusion_fn is None else occlusion_fn
        self.window = _checked("window", window)
        self.stride = _checked("stride", stride)

    def forward(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """The output, and for each element the sum of scores of the windows that it is in."""
        found = torch.zeros_like(input)
        with torch.no_grad(), evaluating(self.model):
            for window in self._windows(input):
                mask = torch.zeros_like(input, dtype=torch.bool)
                mask[window] = True
                output = self.model(self.occlusion_fn(input, mask))
                score = checked_seed(attr_output_fn(output), output).flatten(1).sum(1)
                found[window] += score.reshape(-1, *[1] * (input.dim() - 1))
            return self.model(input), found

    def _windows(self, input: Tensor) -> Iterator[tuple[slice, ...]]:
        """One window after another; the last ones end with the input."""
        sizes = input.shape[1:]
        window = _for_all(self.window, sizes, sizes)
        stride = _for_all(self.stride, sizes, window)
        starts = (range(0, n, step) for n, step in zip(sizes, stride, strict=True))
        for corner in itertools.product(*starts):
            ends = zip(corner, window, strict=True)
            yield (slice(None), *(slice(start, start + size) for start, size in ends))


def _for_all(
    given: int | tuple[int, ...], sizes: Sequence[int], otherwise: Sequence[int]
) -> tuple[int, ...]:
    """A number for each dimension after the batch; for first ones that lack one, `otherwise`."""
    if isinstance(given, int):
        return tuple(min(given, n) for n in sizes)
    if len(given) > len(sizes):
        raise InvalidInputError(
            f"window and stride must have at most a number for each of {len(sizes)} dimensions "
            f"after the batch; got {given}"
        )
    return (*otherwise[: len(sizes) - len(given)], *given)


def _checked(name: str, given: object) -> int | tuple[int, ...]:
    numbers = given if isinstance(given, tuple) else (given,)
    if not all(isinstance(number, int) for number in numbers):
        raise InvalidTypeError(f"{name} must be an int or a tuple of ints; got {given!r}")
    if not all(number > 0 for number in numbers):
        raise InvalidInputError(f"{name} must be 1 or more; got {given!r}")
    return numbers if isinstance(given, tuple) else numbers[0]
