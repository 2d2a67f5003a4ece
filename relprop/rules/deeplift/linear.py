"""DeepLIFT through what is linear: differences add up by themselves (Shrikumar et al. 2017).

In parts, a layer with weights has `P = W+ d+ + W- d-` and `N = W- d+ + W+ d-` (sec. 3.5.1). Both
are sums of two products, `W d` and `|W| |d|`, and so is the way back.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from relprop import ops
from relprop.graph.convolution import Convolution
from relprop.graph.linear import Affine, Dense, Fixed
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Value, sum_to
from relprop.graph.nonlinear import Bilinear, Cat, Sum
from relprop.graph.weights import MAGNITUDE, WHOLE
from relprop.rules.deeplift.multiplier import (
    DifferenceContext,
    DifferenceRule,
    Halves,
    Multiplier,
    Parts,
    scaled_parts,
    sign_parts,
)

#: From so many rows on, two matrix products are faster than the one pass over the weight.
MANY_ROWS = 16


def _reads_weight_once(node: LinearMap, d: Tensor) -> bool:
    """Whether the signed dense operator is the faster way through a layer."""
    dense = isinstance(node, Dense) and not node.input_major
    return dense and d.numel() < MANY_ROWS * d.shape[-1]


def _geometry(node: Convolution) -> dict[str, Any]:
    """A convolution's geometry, as the operators of `relprop.ops` take it."""
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    return {name: getattr(node, name) for name in names}


class Linear(DifferenceRule):
    """A layer with weights: `m_x = W^T m`; the bias has no part in a difference."""

    def keeps_for_parts(self, node: LinearMap) -> tuple[Value, ...]:
        """The layer's input."""
        return node.inputs

    def parts(self, node: LinearMap, context: DifferenceContext) -> Parts:
        """`P = (W d + |W| |d|) / 2`, `N = (W d - |W| |d|) / 2`; a dense layer's in one pass."""
        d, run = context.difference(node.inputs[0]), context.x
        if _reads_weight_once(node, d):
            return ops.signed_linear(d, node.taken(run, WHOLE))
        if isinstance(node, Convolution):
            p, n = sign_parts(node.bordered(d))
            weights = node.taken(run, WHOLE), node.taken(run, MAGNITUDE)
            return ops.signed_convolution(p, n, *weights, **_geometry(node))
        total, size = node.apply(run, d), node.apply(run, d.abs(), MAGNITUDE)
        # Rounding may leave a part that is 0 with the sign of the other.
        return ((total + size) / 2).clamp(min=0), ((total - size) / 2).clamp(max=0)

    def has_size(self, node: LinearMap, context: DifferenceContext) -> bool:
        """A convolution: one product instead of two."""
        return isinstance(node, Convolution)

    def size(self, node: LinearMap, context: DifferenceContext) -> Tensor:
        """`|W| |d|`."""
        d = context.difference(node.inputs[0])
        return node.apply(context.x, d.abs_(), MAGNITUDE)

    def backward(
        self, node: LinearMap, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """1B; for a pair 2B: `m_x = W^T u + sign(d) |W|^T v`, `u, v = (m+ ± m-) / 2`."""
        run, shape = context.x, context.x.shapes[node.inputs[0]]
        u, v = m.halves()
        if v is None:
            return (Multiplier(node.transpose(run, u, shape)),)
        d = context.difference(node.inputs[0])
        if _reads_weight_once(node, d):
            weight = node.taken(run, WHOLE)
            return (Multiplier(ops.signed_linear_backward(m.positive, m.negative, d, weight)),)
        parts = node.transpose(run, u, shape), node.transpose(run, v, shape, MAGNITUDE)
        return (Multiplier(Halves(*parts).along(d)),)


class Through(DifferenceRule):
    """A linear operator without negative weights: average pools, views, slices, interpolation."""

    passes_parts = True

    def keeps_for_parts(self, node: Fixed) -> tuple[Value, ...]:
        """Nothing: the parts below are enough."""
        return ()

    def parts(self, node: Fixed, context: DifferenceContext) -> Parts:
        """Each part goes the same way."""
        P, N = context.parts(node.inputs[0])
        return node.apply(context.x, P), node.apply(context.x, N)

    def has_size(self, node: Fixed, context: DifferenceContext) -> bool:
        """If the input has."""
        return context.has_size(node.inputs[0])

    def size(self, node: Fixed, context: DifferenceContext) -> Tensor:
        """It goes the same way."""
        return node.apply(context.x, context.size(node.inputs[0]))

    def backward(self, node: Fixed, context: DifferenceContext, m: Multiplier) -> tuple[Multiplier]:
        """Each multiplier goes the same way back."""
        shape = context.x.shapes[node.inputs[0]]
        return (m.each(lambda t: node.transpose(context.x, t, shape)),)


class Unsigned(DifferenceRule):
    """A linear operator with negative weights that are not known, such as bicubic interpolation."""

    def backward(self, node: Fixed, context: DifferenceContext, m: Multiplier) -> tuple[Multiplier]:
        """1B."""
        one, shape = self.single(node, context, m), context.x.shapes[node.inputs[0]]
        return (Multiplier(node.transpose(context.x, one, shape)),)


class Scale(DifferenceRule):
    """`z = w x + b`, element by element; a negative w swaps the parts."""

    passes_parts = True

    def keeps_for_parts(self, node: Affine) -> tuple[Value, ...]:
        """Nothing: the parts below are enough."""
        return ()

    def parts(self, node: Affine, context: DifferenceContext) -> Parts:
        """`P_z = w+ P + w- N`, `N_z = w+ N + w- P`."""
        w, parts = context.x.constant(node.weight), context.parts(node.inputs[0])
        return parts if w is None else scaled_parts(w, parts)

    def has_size(self, node: Affine, context: DifferenceContext) -> bool:
        """If the input has."""
        return context.has_size(node.inputs[0])

    def size(self, node: Affine, context: DifferenceContext) -> Tensor:
        """`|w|` times that of the input."""
        w, size = context.x.constant(node.weight), context.size(node.inputs[0])
        return size if w is None else size * w.abs()

    def backward(
        self, node: Affine, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier]:
        """`m+_x = w+ m+ + w- m-`, `m-_x = w+ m- + w- m+`."""
        w, shape = context.x.constant(node.weight), context.x.shapes[node.inputs[0]]
        m = m if w is None else m.scaled(w)
        return (m.each(lambda t: sum_to(t, shape)),)


class Add(DifferenceRule):
    """`z = a + alpha b`: each branch keeps the multiplier."""

    passes_parts = True

    def keeps_for_parts(self, node: Sum) -> tuple[Value, ...]:
        """Nothing: the parts below are enough."""
        return ()

    def parts(self, node: Sum, context: DifferenceContext) -> Parts:
        """The branches' parts, added."""
        a = context.parts(node.inputs[0])
        b = scaled_parts(node.alpha, context.parts(node.inputs[1]))
        return a[0] + b[0], a[1] + b[1]

    def has_size(self, node: Sum, context: DifferenceContext) -> bool:
        """If one of the branches has."""
        return any(map(context.has_size, node.inputs))

    def size(self, node: Sum, context: DifferenceContext) -> Tensor:
        """The branches', added."""
        a, b = map(context.size, node.inputs)
        return torch.add(a, b, alpha=abs(node.alpha))

    def backward(
        self, node: Sum, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """`m_a = m`, `m_b = alpha m`."""
        a, b = (context.x.shapes[value] for value in node.inputs)
        scaled = m if node.alpha == 1 else m.scaled(node.alpha)
        return m.each(lambda t: sum_to(t, a)), scaled.each(lambda t: sum_to(t, b))


class Part(DifferenceRule):
    """A concatenation: each part keeps its own."""

    passes_parts = True

    def keeps_for_parts(self, node: Cat) -> tuple[Value, ...]:
        """Nothing: the parts below are enough."""
        return ()

    def parts(self, node: Cat, context: DifferenceContext) -> Parts:
        """The parts side by side."""
        P, N = zip(*(context.parts(value) for value in node.inputs), strict=True)
        return node.compute(context.x, *P), node.compute(context.x, *N)

    def has_size(self, node: Cat, context: DifferenceContext) -> bool:
        """If one of the parts has."""
        return any(map(context.has_size, node.inputs))

    def size(self, node: Cat, context: DifferenceContext) -> Tensor:
        """The parts', side by side."""
        return node.compute(context.x, *map(context.size, node.inputs))

    def backward(
        self, node: Cat, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """Slices of the multiplier."""
        sizes = [context.x.shapes[value][node.dim] for value in node.inputs]
        starts = [sum(sizes[:i]) for i in range(len(sizes))]

        def part(start: int, size: int) -> Multiplier:
            return m.each(lambda t: t.narrow(node.dim, start, size))

        return tuple(map(part, starts, sizes))


class Midpoint(DifferenceRule):
    """A product, as a game of two players.

    `a b - a0 b0 = (a - a0) (b + b0) / 2 + (a + a0) / 2 (b - b0)`.

    Both terms are Shapley values. The parts are the terms by their signs. In a product of matrices
    the players of each element are its row and its column.
    """

    def keeps(self, node: Bilinear) -> tuple[Value, ...]:
        """Both factors."""
        return node.inputs

    def keeps_for_parts(self, node: Bilinear) -> tuple[Value, ...]:
        """Nothing more."""
        return ()

    def _middle(self, node: Bilinear, context: DifferenceContext) -> tuple[Tensor, Tensor]:
        a, b = ((context.x.values[v] + context.x0.values[v]) / 2 for v in node.inputs)
        return a, b

    def _terms(self, node: Bilinear, context: DifferenceContext) -> tuple[Tensor, Tensor]:
        a, b = self._middle(node, context)
        d_a, d_b = (context.difference(value) for value in node.inputs)
        return node.multiply(d_a, b), node.multiply(a, d_b)

    def parts(self, node: Bilinear, context: DifferenceContext) -> Parts:
        """`P` and `N` of each term, added."""
        terms = self._terms(node, context)
        return (
            terms[0].clamp(min=0) + terms[1].clamp(min=0),
            terms[0].clamp(max=0) + terms[1].clamp(max=0),
        )

    def backward(
        self, node: Bilinear, context: DifferenceContext, m: Multiplier
    ) -> tuple[Multiplier, ...]:
        """`m_a = m (b + b0) / 2`, `m_b = (a + a0) / 2 m`, m that of the term's sign."""
        a, b = self._middle(node, context)
        shapes = [context.x.shapes[value] for value in node.inputs]
        if m.single:
            m_a, m_b = m.positive, m.positive
        else:
            m_a, m_b = map(m.along, self._terms(node, context))
        return (
            Multiplier(node.transpose_first(m_a, b, shapes[0])),
            Multiplier(node.transpose_second(m_b, a, shapes[1])),
        )
