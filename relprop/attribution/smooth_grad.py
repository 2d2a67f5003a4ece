"""SmoothGrad (Smilkov et al. 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, seeds
from relprop.attribution.attributor import per_example, require_finite
from relprop.attribution.explanation import Explanation, Tensors, results
from relprop.attribution.exporting import for_export
from relprop.attribution.gradient_sums import GradientSums, Points, check_batch, check_count
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
        _check(n_samples, noise_level)
        check_batch(internal_batch_size)
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        others = arguments[len(tensors) :]
        with explaining(create_graph):
            output, batch = self._outputs(arguments, len(tensors[0]), internal_batch_size)
            each, many = seeds(target, output)
            scores = [require_finite(per_example(output * one)) for one in each]
            noisy = _around(tensors, noise_level, _generator(seed, tensors[0].device))
            means = self._sum(noisy, [1 / n_samples] * n_samples, others, each, batch)
        found = list(zip(means, scores, strict=True))
        return results(inputs, [Explanation(*one) for one in found], many, with_delta=False)

    def export(
        self,
        inputs: Inputs,
        additional_forward_args: Any = None,
        n_samples: int = 20,
        noise_level: float = 0.1,
        seed: int | None = None,
        internal_batch_size: int | None = None,
    ) -> ExportedProgram:
        """What `attribute` does with inputs like these, as a program of tensors alone.

        The program draws its noise from torch's own generator, as `attribute` does without a seed:
        after the same `torch.manual_seed` they give the same.

        Args:
            inputs, additional_forward_args: examples, as for `LRP.export`.
            n_samples, noise_level: as for `attribute`; they are part of the program.
            seed: None: a program cannot hold a generator of its own.
            internal_batch_size: as for `IntegratedGradients.export`.

        Returns, and raises: as `LRP.export`.
        """
        _check(n_samples, noise_level)
        check_batch(internal_batch_size)
        if seed is not None:
            raise InvalidInputError(
                "seed must be None for an exported SmoothGrad, which draws from torch's own "
                f"generator: call torch.manual_seed({seed!r}) before the program; got {seed!r}"
            )
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        arguments = for_export(arguments)

        def explain(x: Tensors, _: Tensors, summed: Callable[[Points], Tensors]) -> Tensors:
            return summed(_around(x, noise_level, None))

        x, weights = arguments[: len(tensors)], [1 / n_samples] * n_samples
        devices = [x[0].device] if x[0].is_cuda else []
        with explaining(), torch.random.fork_rng(devices):
            return self._exported(arguments, (x, ()), weights, internal_batch_size, explain)


def _check(n_samples: int, noise_level: float) -> None:
    """Raise if there is no such noise."""
    check_count(n_samples, "n_samples")
    if not (math.isfinite(noise_level) and noise_level >= 0):
        raise InvalidInputError(f"noise_level must be a finite number >= 0; got {noise_level!r}")


def _around(inputs: Tensors, noise_level: float, generator: torch.Generator | None) -> Points:
    """The inputs with noise, of every input in turn."""
    sigma = tuple(noise_level * _range(x) for x in inputs)

    def noisy(k: int) -> Tensors:
        return tuple(
            x + s * torch.empty_like(x).normal_(generator=generator)
            for x, s in zip(inputs, sigma, strict=True)
        )

    return noisy


def _range(x: Tensor) -> Tensor:
    """`max x - min x` of each example, in a shape that broadcasts to x."""
    flat = x.reshape(x.shape[0], -1)
    return (flat.amax(1) - flat.amin(1)).reshape(-1, *[1] * (x.dim() - 1))


def _generator(seed: int | None, device: torch.device) -> torch.Generator | None:
    return None if seed is None else torch.Generator(device).manual_seed(seed)
