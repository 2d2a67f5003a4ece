"""zennit's composites: which rules go on which kinds of modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

from torch import Tensor, nn

from relprop.compat.zennit.canonizers import Canonizer
from relprop.compat.zennit.core import Composite
from relprop.compat.zennit.layer import Sum
from relprop.compat.zennit.maps import (
    LayerMap,
    LayerMapComposite,
    MixedComposite,
    NameLayerMapComposite,
    NameMapComposite,
    SpecialFirstLayerMapComposite,
)
from relprop.compat.zennit.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Hook,
    Norm,
    Pass,
    ReLUBetaSmooth,
    ReLUDeconvNet,
    ReLUGuidedBackprop,
    ZBox,
    ZeroParams,
    ZPlus,
)
from relprop.compat.zennit.stabilizer import Stabilizing
from relprop.compat.zennit.types import Activation, AvgPool, BatchNorm, Convolution, Linear

__all__ = [
    "COMPOSITES",
    "BetaSmooth",
    "DeconvNet",
    "EpsilonAlpha2Beta1",
    "EpsilonAlpha2Beta1Flat",
    "EpsilonGammaBox",
    "EpsilonPlus",
    "EpsilonPlusFlat",
    "ExcitationBackprop",
    "GuidedBackprop",
    "LayerMapComposite",
    "MixedComposite",
    "NameLayerMapComposite",
    "NameMapComposite",
    "SpecialFirstLayerMapComposite",
    "layer_map_base",
    "register_composite",
]

Canonizers = Iterable[Canonizer] | None
Made = TypeVar("Made", bound=type[Composite])

#: Composites by zennit's names for them.
COMPOSITES: dict[str, type[Composite]] = {}


def register_composite(name: str) -> Callable[[Made], Made]:
    """A decorator that enters a composite's class in `COMPOSITES`."""

    def enter(composite: Made) -> Made:
        COMPOSITES[name] = composite
        return composite

    return enter


def layer_map_base(stabilizer: Stabilizing = 1e-6) -> list[tuple[object, Hook]]:
    """What composites for LRP have in common: rules for modules without weights."""
    return [
        (Activation, Pass()),
        (Sum, Norm(stabilizer)),
        (AvgPool, Norm(stabilizer)),
        (BatchNorm, Pass()),
    ]


def _map_of(
    own: LayerMap | None, stabilizer: Stabilizing, convolution: Hook, dense: Hook
) -> LayerMap:
    """The user's own pairs, before those for all kinds of modules."""
    pairs = [(Convolution, convolution), (nn.Linear, dense)]
    return [*(own or ()), *layer_map_base(stabilizer), *pairs]


@register_composite("epsilon_gamma_box")
class EpsilonGammaBox(SpecialFirstLayerMapComposite):
    """z^B on the first convolution, gamma on others, epsilon on dense layers.

    Args:
        low, high: bounds of the input, as in `ZBox`.
        epsilon: of the epsilon rule.
        gamma: of the gamma rule.
        stabilizer: of all other rules.
        layer_map, first_map: pairs that come before those of this composite.
        zero_params: `"bias"` to leave biases out, as in `Epsilon`.
        canonizers: not needed, as in `Composite`.
    """

    def __init__(
        self,
        low: float | Tensor,
        high: float | Tensor,
        epsilon: Stabilizing = 1e-6,
        gamma: float = 0.25,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        rules = Gamma(gamma, stabilizer, zero_params), Epsilon(epsilon, zero_params)
        first = [(Convolution, ZBox(low, high, stabilizer, zero_params))]
        super().__init__(
            _map_of(layer_map, stabilizer, *rules), [*(first_map or ()), *first], canonizers
        )


@register_composite("epsilon_plus")
class EpsilonPlus(LayerMapComposite):
    """z+ on convolutions, epsilon on dense layers.

    Args:
        epsilon, stabilizer, layer_map, zero_params, canonizers: as in `EpsilonGammaBox`.
    """

    def __init__(
        self,
        epsilon: Stabilizing = 1e-6,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        rules = ZPlus(stabilizer, zero_params), Epsilon(epsilon, zero_params)
        super().__init__(_map_of(layer_map, stabilizer, *rules), canonizers)


@register_composite("epsilon_alpha2_beta1")
class EpsilonAlpha2Beta1(LayerMapComposite):
    """Alpha-beta with 2 and 1 on convolutions, epsilon on dense layers.

    Args:
        epsilon, stabilizer, layer_map, zero_params, canonizers: as in `EpsilonGammaBox`.
    """

    def __init__(
        self,
        epsilon: Stabilizing = 1e-6,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        rules = AlphaBeta(2, 1, stabilizer, zero_params), Epsilon(epsilon, zero_params)
        super().__init__(_map_of(layer_map, stabilizer, *rules), canonizers)


@register_composite("epsilon_plus_flat")
class EpsilonPlusFlat(SpecialFirstLayerMapComposite):
    """Flat on the first layer, z+ on other convolutions, epsilon on dense layers.

    Args:
        epsilon, stabilizer, layer_map, first_map, zero_params, canonizers: as in `EpsilonGammaBox`.
    """

    def __init__(
        self,
        epsilon: Stabilizing = 1e-6,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        rules = ZPlus(stabilizer, zero_params), Epsilon(epsilon, zero_params)
        first = [*(first_map or ()), (Linear, Flat(stabilizer, zero_params))]
        super().__init__(_map_of(layer_map, stabilizer, *rules), first, canonizers)


@register_composite("epsilon_alpha2_beta1_flat")
class EpsilonAlpha2Beta1Flat(SpecialFirstLayerMapComposite):
    """Flat on the first layer, alpha-beta on other convolutions, epsilon on dense layers.

    Args:
        epsilon, stabilizer, layer_map, first_map, zero_params, canonizers: as in `EpsilonGammaBox`.
    """

    def __init__(
        self,
        epsilon: Stabilizing = 1e-6,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        first_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        rules = AlphaBeta(2, 1, stabilizer, zero_params), Epsilon(epsilon, zero_params)
        first = [*(first_map or ()), (Linear, Flat(stabilizer, zero_params))]
        super().__init__(_map_of(layer_map, stabilizer, *rules), first, canonizers)


@register_composite("excitation_backprop")
class ExcitationBackprop(LayerMapComposite):
    """z+ on all layers with weights (Zhang et al. 2016).

    Args:
        stabilizer, layer_map, zero_params, canonizers: as in `EpsilonGammaBox`.
    """

    def __init__(
        self,
        stabilizer: Stabilizing = 1e-6,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        norm = Norm(stabilizer)
        pairs = [(Sum, norm), (AvgPool, norm), (Linear, ZPlus(stabilizer, zero_params))]
        super().__init__([*(layer_map or ()), *pairs], canonizers)


@register_composite("deconvnet")
class DeconvNet(LayerMapComposite):
    """The gradient, with a ReLU on the way back in place of each on the way forth.

    Args:
        layer_map, canonizers: as in `EpsilonGammaBox`.
    """

    relu = ReLUDeconvNet()

    def __init__(self, layer_map: LayerMap | None = None, canonizers: Canonizers = None) -> None:
        super().__init__([*(layer_map or ()), (nn.ReLU, self.relu)], canonizers)


@register_composite("guided_backprop")
class GuidedBackprop(LayerMapComposite):
    """The gradient, with ReLUs on the way back as well as on the way forth.

    Args:
        layer_map, canonizers: as in `EpsilonGammaBox`.
    """

    relu = ReLUGuidedBackprop()

    def __init__(self, layer_map: LayerMap | None = None, canonizers: Canonizers = None) -> None:
        super().__init__([*(layer_map or ()), (nn.ReLU, self.relu)], canonizers)


@register_composite("beta_smooth")
class BetaSmooth(LayerMapComposite):
    """The gradient, with the slope of a softplus at ReLUs.

    Args:
        beta_smooth: of `ReLUBetaSmooth`.
        layer_map, canonizers: as in `EpsilonGammaBox`.
        zero_params: not used.
    """

    def __init__(
        self,
        beta_smooth: float = 10.0,
        layer_map: LayerMap | None = None,
        zero_params: ZeroParams = None,
        canonizers: Canonizers = None,
    ) -> None:
        self.relu = ReLUBetaSmooth(beta_smooth)
        super().__init__([*(layer_map or ()), (nn.ReLU, self.relu)], canonizers)
