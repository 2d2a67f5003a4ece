"""Rules that treat positive and negative contributions `z_ij = x_i w_ij` differently.

With `x+`, `x-`, `W+`, `W-` the positive and negative parts, the positive contributions to neuron j
are `z+_j = sum_i z+_ij + b+_j = W+ x+ + W- x- + b+`, the negative ones `z- = W- x+ + W+ x- + b-`.
Where x is known to be 0 or more, the second product of each is left out.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor

from relprop import ops
from relprop.errors import InvalidInputError
from relprop.graph.convolution import Convolution
from relprop.graph.linear_map import LinearMap
from relprop.graph.node import Node, Value
from relprop.graph.nonlinear import Activation
from relprop.graph.weights import MAGNITUDE, NEGATIVE, POSITIVE, BySign
from relprop.rules.lrp.relevance import LrpContext, Relevance
from relprop.rules.lrp.weighted import WeightedRule


@dataclass(frozen=True)
class _Contributions:
    """`u(W) x+ + v(W) x-`, and the way back; `v` has no part in it where x is known to be >= 0."""

    node: LinearMap
    context: LrpContext
    u: BySign
    v: BySign

    @property
    def _x(self) -> Tensor:
        return self.context[self.node.inputs[0]]

    @property
    def signed(self) -> bool:
        """Whether x may be negative."""
        return self.node.inputs[0] not in self.context.nonnegative

    @property
    def rounds_by_tile(self) -> bool:
        """Whether the sum's errors are in proportion to large numbers nearby."""
        return self.node.rounds_by_tile(self.context.run, self._x, self.u)

    def forward(self, b: Tensor | None) -> Tensor:
        """The sum for every neuron, with a bias."""
        node, run, x = self.node, self.context.run, self._x
        if not self.signed:
            return node.affine(run, x, self.u, b)
        z = node.affine(run, x.clamp(min=0), self.u, b)
        return z.add_(node.apply(run, x.clamp(max=0), self.v))

    def transpose(self, s: Tensor) -> Tensor:
        """The multiplier `c_i` of `x_i`: `u(W)^T s`, or `v(W)^T s` where x_i < 0."""
        node, run, x = self.node, self.context.run, self._x
        c = node.transpose(run, s, x.shape, self.u)
        if not self.signed:
            return c
        return torch.where(x < 0, node.transpose(run, s, x.shape, self.v), c)


class _Ratio(NamedTuple):
    """`s = R / stab(z)` of the contributions of one sign; with `z`, where kept, and its bias."""

    side: _Contributions
    s: Tensor
    z: Tensor | None
    bias: Tensor | None


@dataclass
class _Both:
    """`z+` and `z-` of a layer, made at once when one of them is asked for."""

    make: Callable[[], tuple[Tensor, Tensor]]
    made: dict[BySign, Tensor] = field(default_factory=dict)

    def give(self, own: BySign) -> Tensor:
        """One of them, which is then let go."""
        if own not in self.made:
            self.made = dict(zip((POSITIVE, NEGATIVE), self.make(), strict=True))
        return self.made.pop(own)


def _size(node: LinearMap, context: LrpContext, b: Tensor | None) -> Tensor:
    """`sum_i |z_ij| + |b_j| = |W| |x| + |b|`, which is `z+ - z-`; not to be changed.

    By rounding, and by the tile at that, it may be less than `|z|`.
    """
    value = node.inputs[0]

    def magnitude() -> Tensor:
        x = context[value] if value in context.nonnegative else context[value].abs()
        return node.affine(context.run, x, MAGNITUDE, None if b is None else b.abs())

    return context.denominator(node, MAGNITUDE, magnitude)


def _unrounded(size: Tensor, z: Tensor) -> Tensor:
    """The size, where rounding has left it below `|z|` that."""
    return torch.maximum(size, z.abs())


def _arriving(rule: WeightedRule, R: Relevance, z: Tensor, size: Tensor) -> dict[str, Any]:
    """What the ratios by sign in `relprop.ops` take."""
    f = R.activation
    return {
        "multiplier": R.multiplier,
        "amount": R.amount,
        "z": z,
        "size": size,
        "epsilon": rule.division.size(z.dtype),
        "activation": f.name if f else "identity",
        "parameters": f.parameters if f else (),
    }


def _only_above_zero(R: Relevance) -> bool:
    """Whether relevance arrives where `z_j > 0` alone: below a function that is 0 elsewhere."""
    if R.amount is not None or R.activation is None:
        return False
    return _is_off_below_zero(R.activation)


def _is_off_below_zero(f: Activation) -> bool:
    return f.name == "relu" or (f.name == "hardtanh" and f.parameters[0] == 0)


@dataclass(frozen=True)
class AlphaBeta(WeightedRule):
    """`R_i = sum_j (alpha z+_ij / stab(z+_j) - beta z-_ij / stab(z-_j)) R_j`, alpha - beta = 1.

    Bach et al. (2015), eq. 60; each of `z+` and `z-` is summed by itself, so neither is a small
    difference of large numbers.

    Raises:
        InvalidInputError: beta is negative, or alpha - beta is not 1.
    """

    sums_by_itself: ClassVar[bool] = True

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta < 0 or not math.isclose(self.alpha - self.beta, 1.0, abs_tol=1e-9):
            raise InvalidInputError(
                "alpha - beta must be 1 and beta 0 or more, so that relevance is conserved; got "
                f"alpha={self.alpha!r}, beta={self.beta!r}"
            )

    @property
    def name(self) -> str:
        """Such as `alpha2-beta1`."""
        return f"alpha{self.alpha:g}-beta{self.beta:g}"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's input x, and its output z for the relevance that arrives."""
        return (node.inputs[0], node.output)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """3F + 2B for x known to be >= 0, with beta = 0 2F + 1B; else twice as many.

        Below a ReLU signed x take one F less.
        """
        sides, signs = (self.alpha, -self.beta), ((POSITIVE, NEGATIVE), (NEGATIVE, POSITIVE))
        if self.beta == 0:
            return (self._side(node, context, R, self.alpha, signs[0]),)
        if self.settles(context):
            above, below = (
                self._side(node, context, R, factor, parts)
                for factor, parts in zip(sides, signs, strict=True)
            )
            return (above + below,)
        both = self._both(node, context)
        side, s = self._ratio(node, context, R, 1, signs[0], both)[:2]
        if isinstance(node, Convolution) and node.pairs(side.context.run, s):
            t = self._ratio(node, context, R, 1, signs[1], both).s
            return (Relevance(self._at_once(node, side, (s, t))),)
        c = side.transpose(s)
        del s  # before the other side grows
        side, t = self._ratio(node, context, R, 1, signs[1], both)[:2]
        return (Relevance(side.transpose(t).lerp_(c, self.alpha)),)

    def _at_once(self, node: Convolution, side: _Contributions, s: tuple[Tensor, Tensor]) -> Tensor:
        """`alpha c+ - beta c-`, the multiplier of x, from the ratios of both sides."""
        run, x = side.context.run, side.context[node.inputs[0]]
        c = node.transpose_pair(run, s, (POSITIVE, NEGATIVE), self.alpha, x.shape)
        if not side.signed:
            return c
        below = node.transpose_pair(run, s, (NEGATIVE, POSITIVE), self.alpha, x.shape)
        return torch.where(x < 0, below, c)

    def _side(
        self,
        node: LinearMap,
        context: LrpContext,
        R: Relevance,
        factor: float,
        parts: tuple[BySign, BySign],
    ) -> Relevance:
        """`factor * sum_j z±_ij R_j / stab(z±_j)`, by the parts of W that meet x+ and x-."""
        side, s, z, b = self._ratio(node, context, R, factor, parts)
        rest = None if z is None else self.leftover(node, side.context, s, z, b)
        return Relevance(side.transpose(s), rest)

    def _ratio(
        self,
        node: LinearMap,
        context: LrpContext,
        R: Relevance,
        factor: float,
        parts: tuple[BySign, BySign],
        both: _Both | None = None,
    ) -> _Ratio:
        """`s = factor * R / stab(z±)`, and what it is made of."""
        own, other = parts
        # z- may be as small as what a tile rounds
        context = context.exactly() if own is NEGATIVE else self.rounding(context)
        contributions = _Contributions(node, context, own, other)
        b = self.bias_of(node, context)
        if self.is_plain(context) and self._by_size(contributions, R):
            arriving = _arriving(self, R, context[node.output], _size(node, context, b))
            s = ops.signed_ratio(**arriving, whole=0.0, gamma=1.0)
            return _Ratio(contributions, s if factor == 1 else s.mul_(factor), None, None)

        def denominator() -> Tensor:
            return self._denominator(contributions, R, b) if both is None else both.give(own)

        z = context.denominator(node, own, denominator)
        b = None if b is None else own(b)
        s = self.ratio(node, context, R, denominator=z, factor=factor)
        return _Ratio(contributions, s, z, b)

    def _both(self, node: LinearMap, context: LrpContext) -> _Both | None:
        """`z+` and `z-` from one read of x, where x >= 0 and that takes less time."""
        run, value = context.run, node.inputs[0]
        if not isinstance(node, Convolution) or value not in context.nonnegative:
            return None
        x, b = context[value], self.bias_of(node, context)
        if not node.makes_both(run, x):
            return None
        own = (None, None) if b is None else (POSITIVE(b), NEGATIVE(b))
        return _Both(lambda: node.affine_pair(run, x, own))

    def _denominator(self, side: _Contributions, R: Relevance, b: Tensor | None) -> Tensor:
        """`z+` or `z-`, whichever the side sums up."""
        node, context, own = side.node, side.context, side.u
        if self._by_size(side, R):
            total = context[node.output]
            return (total + _unrounded(_size(node, context, b), total)) / 2
        z = side.forward(None if b is None else own(b))
        if side.rounds_by_tile:
            # as z+ = z - z- is, before it is rounded
            z.clamp_(min=context[node.output])
        return z

    def _by_size(self, side: _Contributions, R: Relevance) -> bool:
        """Whether to take z+ as half of z and its size: where that takes fewer passes.

        It loses nothing where z > 0, with b in both.
        """
        if side.u is not POSITIVE or not _only_above_zero(R):
            return False
        with_bias = side.node.bias is None or self.bias != "ignore"
        return with_bias and (side.signed or side.rounds_by_tile)


@dataclass(frozen=True)
class ZPlus(AlphaBeta):
    """`R_i = x_i sum_j w+_ij R_j / z+_j` for x >= 0 (Montavon et al. 2017), `z+ = W+ x + b+`.

    For signed x only the positive contributions count: `z+ = W+ x+ + W- x- + b+`. It is the rule
    of alpha = 1 and beta = 0.
    """

    alpha: float = field(default=1.0, init=False)
    beta: float = field(default=0.0, init=False)

    @property
    def name(self) -> str:
        """By its own name."""
        return "zplus"


@dataclass(frozen=True)
class Gamma(WeightedRule):
    """`R_i = sum_j (z_ij + gamma z+_ij) R_j / stab(z_j + gamma z+_j)` where z_j >= 0.

    Montavon et al. (2019), generalised by Andéol et al. (2021): where z_j < 0, the negative
    contributions take the place of the positive ones, `z_ij + gamma z-_ij`. Either denominator has
    z's sign and is larger. If the bias is ignored, z is what it is without it.

    Raises:
        InvalidInputError: gamma is no finite number >= 0.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (math.isfinite(self.gamma) and self.gamma >= 0):
            raise InvalidInputError(f"gamma must be a finite number >= 0; got {self.gamma!r}")

    @property
    def name(self) -> str:
        """Such as `gamma0.25`."""
        return f"gamma{self.gamma:g}"

    def keeps(self, node: Node) -> Sequence[Value]:
        """The layer's input x and its output z."""
        return (node.inputs[0], node.output)

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """2F + 1B for x >= 0 and a ReLU above that the bias is no part of, else 2F + 2B.

        For signed x, twice as many ways back.
        """
        z, b = context[node.output], self.bias_of(node, context)
        if b is None and node.bias is not None:
            R = Relevance(amount=R.total(context.run, z))
            z = z - node.broadcast(context.run.constants[node.bias], z.dim())
        size = _size(node, context, b)
        larger, smaller = BySign(1 + self.gamma, 1), BySign(1, 1 + self.gamma)
        above = _Contributions(node, context, larger, smaller)
        below = _Contributions(node, context, smaller, larger)
        if not self.is_plain(context):
            return (self._settled(R, (above, below), z, size, b),)
        arriving = _arriving(self, R, z, size)
        if _only_above_zero(R):
            return (Relevance(above.transpose(ops.signed_ratio(**arriving, gamma=self.gamma))),)
        s, t = ops.signed_ratio_apart(**arriving, gamma=self.gamma)
        return (Relevance(above.transpose(s).add_(below.transpose(t))),)

    def _settled(
        self,
        R: Relevance,
        sides: tuple[_Contributions, _Contributions],
        z: Tensor,
        size: Tensor,
        b: Tensor | None,
    ) -> Relevance:
        """The same for other stabilizers, and where what bias and stabilizer took is wanted."""
        above, below = sides
        node, context = above.node, above.context
        part = (z + _unrounded(size, z).copysign(z)) / 2
        d = torch.add(z, part, alpha=self.gamma)
        s = self.ratio(node, context, R, denominator=d)
        s_above = torch.where(z.signbit(), 0, s)
        c = above.transpose(s_above) + below.transpose(s - s_above)
        if b is not None and self.settles(context):
            larger, smaller = (node.broadcast(side.u(b), z.dim()) for side in sides)
            b = torch.where(z.signbit(), smaller, larger)
        return Relevance(c, self.leftover(node, context, s, d, b))
