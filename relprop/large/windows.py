"""Windows as a network takes them: of an image, or of a baseline that is the same everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from relprop.errors import InvalidInputError, InvalidTypeError, RelpropError
from relprop.graph.intervals import Box, lengths
from relprop.large.sources import Source

Preprocess = Callable[[Tensor], Tensor]
"""Makes a network's input, shape (C, h, w), of the pixels of a window, shape (c, h, w): pixel by
pixel, as it is called for windows of all sizes."""


@dataclass(frozen=True)
class Normalise:
    """`(pixels / largest - mean) / std`, as most networks for photographs want it.

    Attributes:
        mean, std: a number for each channel, or one for all.
        largest: what is white in the image: 255 for eight bits.
    """

    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    largest: float = 255.0

    def __call__(self, pixels: Tensor) -> Tensor:
        """The pixels of a window, shape (C, h, w), normalised; in float32."""
        if len(pixels) not in (len(self.mean), 1) and len(self.mean) != 1:
            raise InvalidInputError(
                f"the image must have as many channels as there are means, {len(self.mean)}; got "
                f"{len(pixels)}"
            )
        mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (self.mean, self.std))
        return (pixels.float() / self.largest - mean) / std


@dataclass(frozen=True)
class ImageWindows:
    """Windows of a source, as inputs of a model of such a type, shape (1, C, h, w)."""

    source: Source
    preprocess: Preprocess | None
    dtype: torch.dtype
    device: torch.device

    def window(self, box: Box) -> Tensor:
        """A window.

        Raises:
            InvalidInputError, InvalidTypeError: it cannot be read, or is no input.
        """
        pixels = torch.from_numpy(self._read(box).copy())
        made = pixels if self.preprocess is None else self.preprocess(pixels)
        if not isinstance(made, Tensor) or not made.is_floating_point():
            got = made.dtype if isinstance(made, Tensor) else type(made).__name__
            raise InvalidTypeError(
                f"a window must be floating-point numbers as the model takes them; got {got}: "
                "give a preprocess, such as Normalise()"
            )
        if made.dim() != 3 or tuple(made.shape[1:]) != lengths(box):
            raise InvalidInputError(
                f"preprocess must leave height and width, {lengths(box)}; got {tuple(made.shape)}"
            )
        if not torch.isfinite(made).all():
            raise InvalidInputError(f"the image must be finite; it is not in the window {box}")
        return made[None].to(self.device, self.dtype)

    def _read(self, box: Box) -> NDArray[Any]:
        try:
            return self.source.window(box)
        except RelpropError:  # some of which are OSErrors as well
            raise
        except OSError as fault:
            said = fault.strerror or fault
            raise InvalidInputError(f"{self.source.name}: cannot be read ({said})") from fault


@dataclass(frozen=True)
class ConstantWindows:
    """Windows of an image that has one value for each channel, shape (1, C, 1, 1)."""

    values: Tensor

    def window(self, box: Box) -> Tensor:
        """A window, of which every pixel is the same memory."""
        return self.values.expand(-1, -1, *lengths(box))


def constant(baseline: float | Sequence[float] | Tensor, channels: int, like: Tensor) -> Tensor:
    """A value for each channel, shape (1, C, 1, 1), of a number or of as many as there are.

    Raises:
        InvalidInputError: there are more or fewer, or they are not finite.
    """
    values = torch.as_tensor(baseline, dtype=like.dtype, device=like.device).flatten()
    if values.numel() not in (1, channels) or not torch.isfinite(values).all():
        raise InvalidInputError(
            f"baseline must be a finite number, or one for each of {channels} channels, or an "
            f"image; got {baseline!r}"
        )
    return values.expand(channels).reshape(1, -1, 1, 1)
