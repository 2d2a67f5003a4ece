"""SmoothGrad (Smilkov et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.arguments import Inputs, Target, seeds
from relprop.attribution.attributor import per_example, require_finite
from relprop.attribution.explanation import Explanation, Tensors, results
from relprop.attribution.gradient_sums import GradientSums, check_batch, check_count
from relprop.attribution.modes import explaining
from relprop.errors import InvalidInputError


class SmoothGrad(GradientSums):
    """`1/n sum_k df/dx (x + e_k)`, `e_k ~ N(0, sigma^2)`: the gradient, averaged around the input.

    The noise has `sigma = noise_level * (max x - min x)` of each example (Smilkov et al. 2017,
    sec. 3; they advise a level of 0.1 to 0.2).

    Example:
        >>> gradient = SmoothGrad(model).attribute(images, target=281, seed=0)
    """

    def attribute(
        self,
        inputs: Inputs,
        target: Target = None,
        additional_forward_args: Any = None,
        n_samples: int = 20,
        noise_level: float = 0.1,
        seed: int | None = None,
        internal_batch_size: int | None = None,
        create_graph: bool = False,
    ) -> Any:
        """The mean gradient of the output at `target` around `inputs`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype; noise is
                added to each.
            target: as in `Gradient.attribute`.
            additional_forward_args: further positional arguments of the model, not explained.
                Tensors with one entry for each example are repeated for every sample.
            n_samples: how many noisy inputs to average over, for each example.
            noise_level: the noise's standard deviation in units of an example's range.
            seed: of the noise; with the same one the result is the same. None to draw on from
                torch's own generator.
            internal_batch_size: as in `IntegratedGradients.attribute`.
            create_graph: whether the result can itself be differentiated, as in
                `Gradient.attribute`; needs the activations of all points at once.

        Returns:
            A tensor in the shape of `inputs` (a tuple for a tuple), in units of the output per unit
            of the input. For T targets an example, of shape (N, T, ...).

        Raises:
            InvalidInputError, InvalidTypeError: an argument cannot be used.
            CaptureError: the model cannot be captured.
        """
        check_count(n_samples, "n_samples")
        if not (math.isfinite(noise_level) and noise_level >= 0):
            raise InvalidInputError(
                f"noise_level must be a finite number >= 0; got {noise_level!r}"
            )
        check_batch(internal_batch_size)
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        others = arguments[len(tensors) :]
        with explaining(create_graph):
            output, batch = self._outputs(arguments, len(tensors[0]), internal_batch_size)
            each, many = seeds(target, output)
            scores = [require_finite(per_example(output * one)) for one in each]
            sigma = tuple(noise_level * _range(x) for x in tensors)
            generator = _generator(seed, tensors[0].device)

            def noisy(k: int) -> Tensors:
                return tuple(
                    x + s * torch.empty_like(x).normal_(generator=generator)
                    for x, s in zip(tensors, sigma, strict=True)
                )

            means = self._sum(noisy, [1 / n_samples] * n_samples, others, each, batch)
        found = list(zip(means, scores, strict=True))
        return results(inputs, [Explanation(*one) for one in found], many, with_delta=False)


def _range(x: Tensor) -> Tensor:
    """`max x - min x` of each example, in a shape that broadcasts to x."""
    flat = x.reshape(len(x), -1)
    return (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (x.dim() - 1))


def _generator(seed: int | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device).manual_seed(seed)
