"""What people use today, as data: other packages' explanations, by what they compute.

Each explains a copy of the model with weights of its own name but shared memory, for most of them
change what they explain. What they do once for a model, like merging batch norms or setting hooks,
is done beforehand, and costs nothing here.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.cost.methods import Explain
from benchmarks.cost.networks import HIGH, LOW, torchvision_models

EPSILON = 1e-6
BOX = {"low": torch.full((1, 1, 1, 1), LOW), "high": torch.full((1, 1, 1, 1), HIGH)}

Composite = Callable[[list[Any]], Any]
"""Makes one of zennit's composites, with these canonizers."""


@dataclass(frozen=True)
class Peer:
    """Another package's method.

    Attributes:
        name: of the package and its method.
        package: what has to be installed.
        computes: the name of ours that gives the same.
        prepare: what explains a model; it imports the package.
    """

    name: str
    package: str
    computes: str
    prepare: Callable[[nn.Module], Explain]


def own_copy(model: nn.Module) -> nn.Module:
    """A model that may be changed, as long as no weight is written to."""
    tensors = (*model.parameters(), *model.buffers())
    shared: dict[int, Any] = {
        id(t): nn.Parameter(t.detach(), requires_grad=False)
        if isinstance(t, nn.Parameter)
        else t.detach()
        for t in tensors
    }
    return copy.deepcopy(model, shared)


def by_captum(method: str, *, baseline: bool = False) -> Callable[[nn.Module], Explain]:
    """captum sets hooks and takes them away at every explanation; it offers nothing else."""

    def prepare(model: nn.Module) -> Explain:
        import captum.attr

        attributor = getattr(captum.attr, method)(own_copy(model))

        def explain(x: Tensor, target: Tensor) -> Tensor:
            options = {"baselines": torch.zeros_like(x[:1])} if baseline else {}
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # it warns of its own hooks, every time
                found: Tensor = attributor.attribute(x, target=target, **options)
            return found.detach()

        return explain

    return prepare


def by_zennit(composite: Composite) -> Callable[[nn.Module], Explain]:
    """zennit's hooks stay where they are from the first explanation to the last."""

    def prepare(model: nn.Module) -> Explain:
        own = own_copy(model)
        composite(canonizers(own)).register(own)
        for norm in own.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.eps = 0.0  # merged, it would otherwise go on dividing by sqrt(1 + eps)

        def explain(x: Tensor, target: Tensor) -> Tensor:
            x = x.detach().requires_grad_()
            y = own(x)
            scores = y.detach().gather(1, target[:, None])
            seed = torch.zeros_like(y).scatter_(1, target[:, None], scores)
            (found,) = torch.autograd.grad(y, x, seed)
            return found

        return explain

    return prepare


def canonizers(model: nn.Module) -> list[Any]:
    """What zennit needs to know of a network: its batch norms, and where two branches meet."""
    models = torchvision_models()
    from zennit.canonizers import AttributeCanonizer, NamedMergeBatchNorm
    from zennit.torchvision import ResNetCanonizer

    if isinstance(model, models.ResNet):
        return [ResNetCanonizer()]
    return [NamedMergeBatchNorm(batch_norms(model)), AttributeCanonizer(_sum_of_branches)]


def batch_norms(model: nn.Module) -> list[tuple[list[str], str]]:
    """Each batch norm with the convolution before it, by their names, in the order of modules."""
    layers = [
        (name, module)
        for name, module in model.named_modules()
        if isinstance(module, (nn.Conv2d, nn.BatchNorm2d))
    ]
    return [
        ([before], name)
        for (before, layer), (name, norm) in pairwise(layers)
        if isinstance(layer, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d)
    ]


def _sum_of_branches(_: str, module: nn.Module) -> dict[str, Any] | None:
    """For a block of EfficientNet: a module of zennit's to add the branches, in place of `+`."""
    from zennit.layer import Sum

    if type(module).__name__ != "MBConvBlock":
        return None
    arguments: Any = module._block_args
    widths = arguments.input_filters, arguments.output_filters
    adds = module.id_skip and arguments.stride == 1 and widths[0] == widths[1]
    total = Sum()

    def forward(x: Tensor, drop_connect_rate: float | None = None) -> Tensor:
        y = type(module).forward(module, x)  # without the skip connection: `id_skip` is False
        return total(torch.stack([x, y], dim=-1)) if adds else y

    return {"forward": forward, "id_skip": False, "canonizer_sum": total}


def _named(name: str, **options: Any) -> Composite:
    """A composite of zennit's, by its name."""

    def make(canonizers: list[Any]) -> Any:
        from zennit import composites

        return getattr(composites, name)(canonizers=canonizers, **options)

    return make


def _epsilon(canonizers: list[Any]) -> Any:
    from zennit import rules, types
    from zennit.composites import LayerMapComposite, layer_map_base

    layers = [*layer_map_base(), (types.Linear, rules.Epsilon(EPSILON))]
    return LayerMapComposite(layers, canonizers=canonizers)


def _deep_taylor(canonizers: list[Any]) -> Any:
    from zennit import rules, types
    from zennit.composites import SpecialFirstLayerMapComposite, layer_map_base

    layers = [*layer_map_base(), (types.Linear, rules.ZPlus(zero_params="bias"))]
    first = [(types.Convolution, rules.ZBox(**BOX, zero_params="bias"))]
    return SpecialFirstLayerMapComposite(layers, first, canonizers=canonizers)


PEERS: tuple[Peer, ...] = (
    Peer("captum LRP", "captum", "LRP epsilon", by_captum("LRP")),
    Peer("zennit Epsilon", "zennit", "LRP epsilon", by_zennit(_epsilon)),
    Peer("zennit EpsilonPlus", "zennit", "LRP epsilon_plus", by_zennit(_named("EpsilonPlus"))),
    Peer(
        "zennit EpsilonPlusFlat",
        "zennit",
        "LRP epsilon_plus_flat",
        by_zennit(_named("EpsilonPlusFlat")),
    ),
    Peer(
        "zennit EpsilonAlpha2Beta1",
        "zennit",
        "LRP epsilon_alpha2_beta1",
        by_zennit(_named("EpsilonAlpha2Beta1")),
    ),
    Peer(
        "zennit EpsilonGammaBox",
        "zennit",
        "LRP epsilon_gamma_box",
        by_zennit(_named("EpsilonGammaBox", **BOX)),
    ),
    Peer("zennit ZPlus and ZBox", "zennit", "deep Taylor", by_zennit(_deep_taylor)),
    Peer(
        "captum DeepLift",
        "captum",
        "DeepLIFT Rescale",
        by_captum("DeepLift", baseline=True),
    ),
)
