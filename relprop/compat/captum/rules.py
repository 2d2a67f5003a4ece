"""captum's rules of LRP, to be set on a module as `module.rule = EpsilonRule()`."""

from __future__ import annotations

from dataclasses import dataclass

from relprop.errors import InvalidTypeError
from relprop.rules.lrp import Epsilon, Pass, Proportional, Reweighted
from relprop.rules.lrp.composite import AnyRule


class PropagationRule:
    """Base of the rules; `STABILITY_FACTOR` is added to denominators with their sign."""

    STABILITY_FACTOR = 1e-9

    def declared(self) -> tuple[AnyRule, ...]:
        """relprop's rules that this one stands for, each for other kinds of node."""
        raise InvalidTypeError(
            "a rule must be one of EpsilonRule, GammaRule, Alpha1_Beta0_Rule and IdentityRule; "
            f"got {type(self).__name__}: write others as rules of relprop.rules.lrp"
        )


@dataclass(init=False)
class EpsilonRule(PropagationRule):
    """`R_i = x_i sum_j w_ij R_j / (z_j + epsilon sign(z_j))`: Bach et al. (2015), eq. 58."""

    epsilon: float

    def __init__(self, epsilon: float = 1e-9) -> None:
        self.epsilon = self.STABILITY_FACTOR = epsilon

    def declared(self) -> tuple[AnyRule, ...]:
        """The epsilon rule, for branches that are added too."""
        return Epsilon(epsilon=self.epsilon), Proportional(stabilizer=self.epsilon)


@dataclass
class GammaRule(PropagationRule):
    """`R_i = x_i sum_j w'_ij R_j / stab(z'_j)`, `z' = W' x + b`, `W' = W + gamma W+`.

    The gamma rule of Montavon et al. (2019) for inputs >= 0.

    Attributes:
        gamma: how much more positive weights count.
        set_bias_to_zero: whether to leave the bias out of `z'`.
    """

    gamma: float = 0.25
    set_bias_to_zero: bool = False

    def declared(self) -> tuple[AnyRule, ...]:
        """For layers with weights; others have the epsilon rule."""
        return (_reweighted(1 + self.gamma, 1, self),)


@dataclass
class Alpha1_Beta0_Rule(PropagationRule):
    """`R_i = x_i sum_j w+_ij R_j / stab(z'_j)`, `z' = W+ x + b`: the z+ rule for inputs >= 0.

    Attributes:
        set_bias_to_zero: whether to leave the bias out of `z'`.
    """

    set_bias_to_zero: bool = False

    def declared(self) -> tuple[AnyRule, ...]:
        """For layers with weights; others have the epsilon rule."""
        return (_reweighted(1, 0, self),)


@dataclass
class IdentityRule(PropagationRule):
    """`R_i = R_j`: relevance passes a layer that keeps the shape as if it were not there."""

    def declared(self) -> tuple[AnyRule, ...]:
        """For everything with one input."""
        return (Pass(),)


def _reweighted(
    positive: float, negative: float, rule: GammaRule | Alpha1_Beta0_Rule
) -> Reweighted:
    bias = "ignore" if rule.set_bias_to_zero else "absorb"
    return Reweighted(positive=positive, negative=negative, bias=bias)
