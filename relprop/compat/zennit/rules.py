"""zennit's rules: what a composite puts on modules."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from relprop.compat.zennit.crossings import GuidedSlope, SmoothSlope
from relprop.compat.zennit.stabilizer import Stabilizing, declared_stabilizer
from relprop.errors import InvalidInputError, InvalidTypeError
from relprop.graph.linear_map import LinearMap
from relprop.rules import lrp
from relprop.rules.gradient import Deconvolution, GradientRule
from relprop.rules.lrp.composite import AnyRule
from relprop.rules.lrp.relevance import LrpContext, Relevance

ZeroParams = str | Sequence[str] | None


class Hook:
    """Base of the rules, under zennit's name for it; nothing is hooked here."""

    def register(self, module: nn.Module) -> None:
        """There is no way to put a rule on a module by itself."""
        raise InvalidTypeError(
            f"a rule must be put on modules by a composite, such as LayerMapComposite; "
            f"{type(self).__name__} cannot be registered on a {type(module).__name__}"
        )


class RelevanceRule(Hook):
    """A rule of LRP."""

    def __post_init__(self) -> None:
        self.declared()  # what relprop has against an argument, it says here

    def declared(self) -> AnyRule:
        """relprop's rule that this one stands for."""
        raise NotImplementedError


class ReluRule(Hook):
    """Another way back through a ReLU, or another elementwise function, than the gradient's."""

    def crossing(self) -> GradientRule:
        """relprop's rule that this one stands for."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False)
class Epsilon(RelevanceRule):
    """`R_i = x_i sum_j w_ij R_j / stab(z_j)` (Bach et al. 2015, eq. 58).

    Attributes:
        epsilon: a number to add to z with z's sign, or a function from z to `stab(z)`.
        zero_params: `"bias"`, or a list of it, to leave the bias out of z.
    """

    epsilon: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> lrp.Epsilon:
        """The epsilon rule."""
        epsilon = declared_stabilizer("epsilon", self.epsilon)
        return lrp.Epsilon(epsilon, bias=_bias_policy(self.zero_params))


@dataclass(frozen=True, eq=False)
class Norm(RelevanceRule):
    """The epsilon rule, for what has no weights: sums and average pools.

    Attributes:
        stabilizer: as `epsilon` of `Epsilon`.
    """

    stabilizer: Stabilizing = 1e-6

    def declared(self) -> lrp.Epsilon:
        """The epsilon rule."""
        stabilizer = declared_stabilizer("stabilizer", self.stabilizer)
        return lrp.Epsilon(stabilizer, stabilizer=stabilizer, bias="absorb")


@dataclass(frozen=True, eq=False)
class Gamma(RelevanceRule):
    """Positive contributions count `1 + gamma` times where z > 0, negative ones where z < 0.

    Montavon et al. (2019), generalised by Andéol et al. (2021); see `relprop.rules.lrp.Gamma`.

    Attributes:
        gamma: how much more they count.
        stabilizer: as `epsilon` of `Epsilon`.
        zero_params: as in `Epsilon`.
    """

    gamma: float = 0.25
    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> lrp.Gamma:
        """The gamma rule."""
        stabilizer = declared_stabilizer("stabilizer", self.stabilizer)
        policy = _bias_policy(self.zero_params)
        return lrp.Gamma(self.gamma, stabilizer=stabilizer, bias=policy)


@dataclass(frozen=True, eq=False)
class ZPlus(RelevanceRule):
    """`R_i = sum_j z+_ij R_j / stab(z+_j)`: alpha-beta with 1 and 0 (Montavon et al. 2017).

    Attributes:
        stabilizer: as `epsilon` of `Epsilon`.
        zero_params: as in `Epsilon`.
    """

    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> lrp.ZPlus:
        """The z+ rule."""
        stabilizer = declared_stabilizer("stabilizer", self.stabilizer)
        return lrp.ZPlus(stabilizer=stabilizer, bias=_bias_policy(self.zero_params))


@dataclass(frozen=True, eq=False)
class AlphaBeta(RelevanceRule):
    """`R_i = sum_j (alpha z+_ij / stab(z+_j) - beta z-_ij / stab(z-_j)) R_j`.

    Bach et al. (2015), eq. 60.

    Attributes:
        alpha, beta: with `alpha - beta = 1` and `beta >= 0`.
        stabilizer: as `epsilon` of `Epsilon`.
        zero_params: as in `Epsilon`.
    """

    alpha: float = 2.0
    beta: float = 1.0
    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> lrp.AlphaBeta:
        """The alpha-beta rule."""
        stabilizer = declared_stabilizer("stabilizer", self.stabilizer)
        policy = _bias_policy(self.zero_params)
        return lrp.AlphaBeta(self.alpha, self.beta, stabilizer=stabilizer, bias=policy)


@dataclass(frozen=True, eq=False)
class ZBox(RelevanceRule):
    """The z^B rule, for inputs in a box `low <= x <= high` (Montavon et al. 2017, eq. 15).

    Attributes:
        low, high: numbers, or tensors of as many dimensions as x that broadcast to it, such as
            (1, C, 1, 1). Of bounds for more examples than there are, the first ones are taken.
        stabilizer: as `epsilon` of `Epsilon`.
        zero_params: as in `Epsilon`; the bias has no part in this rule in any case.
    """

    low: float | Tensor
    high: float | Tensor
    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> lrp.ZBox:
        """The z^B rule, with bounds for the batch."""
        _bias_policy(self.zero_params)
        stabilizer = declared_stabilizer("stabilizer", self.stabilizer)
        return _Box(low=self.low, high=self.high, stabilizer=stabilizer, bias="absorb")


class _Box(lrp.ZBox):
    """z^B, with bounds that may be for a larger batch."""

    def backward(self, node: LinearMap, context: LrpContext, R: Relevance) -> tuple[Relevance, ...]:
        """As z^B, with the bounds of the examples that there are."""
        shape = context.run.shapes[node.inputs[0]]
        bounds = {"low": _bound("low", self.low, shape), "high": _bound("high", self.high, shape)}
        box = lrp.ZBox(stabilizer=self.stabilizer, bias=self.bias, **bounds)
        return box.backward(node, context, R)


def _bound(name: str, given: float | Tensor | None, shape: Sequence[int]) -> float | Tensor:
    assert given is not None
    if not isinstance(given, Tensor) or given.dim() == 0:
        return given
    bound = given[: shape[0]] if len(given) > 1 else given
    fits = bound.dim() == len(shape) and all(
        size in (1, n) for size, n in zip(bound.shape, shape, strict=True)
    )
    if not fits:
        raise InvalidInputError(
            f"{name} must be a number, or broadcast to the layer's input of shape {tuple(shape)}; "
            f"got {tuple(given.shape)}"
        )
    return bound


@dataclass(frozen=True, eq=False)
class Pass(RelevanceRule):
    """`R_i = R_j`: relevance passes a module that keeps the shape as if it were not there."""

    def declared(self) -> lrp.Pass:
        """The pass rule."""
        return lrp.Pass()


@dataclass(frozen=True, eq=False)
class WSquare(RelevanceRule):
    """`R_i = sum_j w_ij^2 / (sum_i' w_i'j^2) R_j` (Montavon et al. 2017, eq. 12).

    Attributes:
        stabilizer: not needed; shares are at most 1.
        zero_params: as in `Epsilon`; the bias has no part in this rule in any case.
    """

    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> AnyRule:
        """The w^2 rule."""
        _bias_policy(self.zero_params)
        declared_stabilizer("stabilizer", self.stabilizer)
        return lrp.WSquare()


@dataclass(frozen=True, eq=False)
class Flat(RelevanceRule):
    """`R_i = sum_j R_j / n_j`, the same for all n_j inputs of a neuron (Lapuschkin et al. 2019).

    Attributes:
        stabilizer: not needed; n_j is at least 1.
        zero_params: as in `Epsilon`; the bias has no part in this rule in any case.
    """

    stabilizer: Stabilizing = 1e-6
    zero_params: ZeroParams = None

    def declared(self) -> AnyRule:
        """The flat rule."""
        _bias_policy(self.zero_params)
        declared_stabilizer("stabilizer", self.stabilizer)
        return lrp.Flat()


class ReLUDeconvNet(ReluRule):
    """`m_x = relu(m_y)`: a ReLU on the way back alone (Zeiler and Fergus 2014)."""

    def crossing(self) -> GradientRule:
        """A deconvnet's."""
        return Deconvolution()


class ReLUGuidedBackprop(ReluRule):
    """`m_x = f'(x) relu(m_y)`: a ReLU on both ways (Springenberg et al. 2015)."""

    def crossing(self) -> GradientRule:
        """That of guided backpropagation."""
        return GuidedSlope()


@dataclass(frozen=True, eq=False)
class ReLUBetaSmooth(ReluRule):
    """`m_x = sigmoid(beta x) m_y`, the slope of a softplus (Dombrowski et al. 2019).

    Attributes:
        beta_smooth: beta.
    """

    beta_smooth: float = 10.0

    def crossing(self) -> GradientRule:
        """The smooth slope."""
        return SmoothSlope(self.beta_smooth)


def _bias_policy(zero_params: ZeroParams) -> str:
    """relprop's policy for the bias, from the names of parameters that shall be zero."""
    names = [zero_params] if isinstance(zero_params, str) else list(zero_params or ())
    if set(names) - {"bias"}:
        raise InvalidInputError(
            "zero_params must be 'bias', a list of it, or None: a bias can be left out, other "
            f"parameters cannot; got {zero_params!r}"
        )
    return "ignore" if names else "absorb"
