"""Integrated gradients (Sundararajan et al. 2017)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.export import ExportedProgram

from relprop.attribution.arguments import Inputs, Target, check_choice, seeds
from relprop.attribution.attributor import per_example, require_finite
from relprop.attribution.explanation import Explanation, Tensors, results
from relprop.attribution.exporting import for_export
from relprop.attribution.gradient_sums import GradientSums, Points, check_batch, check_count
from relprop.attribution.modes import explaining
from relprop.attribution.references import Baselines, Explained, as_references

#: Where on [0, 1] to evaluate, and with which weights, which sum to 1.
Quadrature = tuple[list[float], list[float]]


def _riemann(at: float) -> Callable[[int], Quadrature]:
    """n equal intervals, each represented by the point `at` of its length."""
    return lambda n: ([(k + at) / n for k in range(n)], [1 / n] * n)


def _trapezoid(n: int) -> Quadrature:
    """n points, both ends among them, which count half."""
    inner = 1 / (n - 1)
    return [k * inner for k in range(n)], [inner / 2, *[inner] * (n - 2), inner / 2]


def _gauss_legendre(n: int) -> Quadrature:
    """Exact for polynomials of degree 2 n - 1."""
    nodes, weights = np.polynomial.legendre.leggauss(n)
    return ((1 + nodes) / 2).tolist(), (weights / 2).tolist()


METHODS: dict[str, Callable[[int], Quadrature]] = {
    "gausslegendre": _gauss_legendre,
    "riemann_left": _riemann(0),
    "riemann_middle": _riemann(0.5),
    "riemann_right": _riemann(1),
    "riemann_trapezoid": _trapezoid,
}


class IntegratedGradients(GradientSums):
    """`R_i = (x_i - x0_i) * ∫_0^1 df/dx_i (x0 + a (x - x0)) da`, from the baseline to the input.

    The integral is a sum over `n_steps` points, all of which are swept together, as far as memory
    allows. With the exact integral the sum of R is `f(x) - f(x0)` (Sundararajan et al. 2017,
    prop. 1).

    Example:
        >>> R = IntegratedGradients(model).attribute(images, baselines="blur", target=281)
    """

    def attribute(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        target: Target = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
        return_convergence_delta: bool = False,
        create_graph: bool = False,
    ) -> Any:
        """The contributions of `inputs` to `f(inputs) - f(baselines)` at `target`.

        Args:
            inputs: a tensor of shape (N, ...) or a tuple of them, in the model's dtype.
            baselines: where the path begins, as in `DeepLift.attribute`; over a `Distribution` the
                contributions are averaged.
            target: as in `Gradient.attribute`.
            additional_forward_args: further positional arguments of the model, not explained.
                Tensors with one entry for each example are repeated along the path.
            n_steps: how many points of the path to evaluate; 2 or more for the trapezoid.
            method: `"gausslegendre"`, `"riemann_left"`, `"riemann_middle"`, `"riemann_right"`, or
                `"riemann_trapezoid"`, of which the weights sum to 1 (captum's to 1 - 1 / n_steps).
            internal_batch_size: how many points to sweep at once; None for as many as hold about
                1 GiB of activations, but no fewer than N.
            return_convergence_delta: whether to return the error of the sum, too.
            create_graph: whether the result can itself be differentiated, as in
                `Gradient.attribute`; needs the activations of all points at once.

        Returns:
            Contributions in the shape of `inputs` (a tuple for a tuple), in units of the output.
            With `return_convergence_delta` also a tensor of shape (N,): sum of contributions minus
            `f(inputs) - f(baselines)`. For T targets an example, shapes (N, T, ...) and (N, T).

        Raises:
            InvalidInputError, InvalidTypeError: an argument cannot be used.
            CaptureError: the model cannot be captured.
        """
        quadrature = _checked(method, n_steps)
        check_batch(internal_batch_size)
        tensors, arguments = self._arguments(inputs, additional_forward_args, create_graph)
        others = arguments[len(tensors) :]
        with explaining(create_graph):
            references = as_references(baselines, tensors, others)
            output, batch = self._outputs(arguments, len(tensors[0]), internal_batch_size)
            each, many = seeds(target, output)
            scores = [require_finite(per_example(output * seed)) for seed in each]

            def explain(x0: Tensors) -> list[Explained]:
                integrals = self._integrate(tensors, x0, others, each, quadrature, batch)
                return list(map(_contributions, scores, integrals))

            found = references.mean(explain)
        return results(inputs, [Explanation(*one) for one in found], many, return_convergence_delta)

    def export(
        self,
        inputs: Inputs,
        baselines: Baselines = None,
        additional_forward_args: Any = None,
        n_steps: int = 50,
        method: str = "gausslegendre",
        internal_batch_size: int | None = None,
    ) -> ExportedProgram:
        """What `attribute` does with inputs and a baseline like these, as a program of tensors.

        Args:
            inputs, baselines, additional_forward_args: examples, as for `DeepLift.export`.
            n_steps, method: as for `attribute`; they are part of the program.
            internal_batch_size: how many points of the path to sweep at once, for so many examples
                as these; as for `attribute`.

        Returns, and raises: as `DeepLift.export`.
        """
        a, weights = _checked(method, n_steps)
        check_batch(internal_batch_size)
        tensors, arguments = self._arguments(inputs, additional_forward_args)
        count, arguments = len(tensors), for_export(arguments)

        def explain(x: Tensors, x0: Tensors, summed: Callable[[Points], Tensors]) -> Tensors:
            d, points = _path(x, x0, a)
            return tuple(way * m for way, m in zip(d, summed(points), strict=True))

        with explaining():
            x, others = arguments[:count], arguments[count:]
            x0 = as_references(baselines, x, others).only()
            return self._exported(arguments, (x, x0), weights, internal_batch_size, explain)

    def _integrate(
        self,
        x: Tensors,
        x0: Tensors,
        others: tuple[Any, ...],
        each: list[Tensor],
        quadrature: Quadrature,
        batch: int,
    ) -> list[tuple[Tensors, Tensor]]:
        """For every target the contributions against one baseline, and the baseline's score."""
        a, weights = quadrature
        d, points = _path(x, x0, a)
        start, _ = self._outputs((*x0, *others), len(x0[0]), batch)
        integrals = self._sum(points, weights, others, each, batch)
        return [
            (
                tuple(way * m for way, m in zip(d, integral, strict=True)),
                require_finite(per_example(start * seed)),
            )
            for integral, seed in zip(integrals, each, strict=True)
        ]


def _checked(method: str, n_steps: int) -> Quadrature:
    """Points and weights, if there are such."""
    check_choice(method, tuple(METHODS), "method")
    check_count(n_steps, "n_steps", 2 if method == "riemann_trapezoid" else 1)
    return METHODS[method](n_steps)


def _path(x: Tensors, x0: Tensors, a: list[float]) -> tuple[Tensors, Points]:
    """The whole way from x0 to x, and the points `x0 + a[k] * (x - x0)` on it."""
    d = tuple(one - other for one, other in zip(x, x0, strict=True))

    def point(k: int) -> Tensors:
        return tuple(start + a[k] * way for start, way in zip(x0, d, strict=True))

    return d, point


def _contributions(score: Tensor, integral: tuple[Tensors, Tensor]) -> Explained:
    """R, and `sum R - (f(x) - f(x0))`."""
    R, start = integral
    return R, sum(map(per_example, R)) - (score - start)
