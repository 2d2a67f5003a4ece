"""The methods by the names that `explain_func` knows, and the options that each takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from inspect import signature
from typing import Any

import relprop
from relprop.errors import InvalidInputError
from relprop.rules.deeplift.choice import RULE_NAMES
from relprop.rules.lrp.presets import COMPOSITES

Options = dict[str, Any]
#: What `explain_func` gives to methods itself, or what would change what they return.
WITHHELD = {"self", "model", "inputs", "target", "return_convergence_delta", "layers"}


@dataclass(frozen=True)
class Method:
    """A class of relprop, settings of its own, and whether the sign of what it finds is dropped."""

    kind: type[Any]
    preset: Mapping[str, Any] = field(default_factory=dict)
    magnitude: bool = False

    def parted(self, options: Options) -> tuple[Options, Options]:
        """The settings to make the method with, and the arguments of its `attribute`.

        Raises:
            InvalidInputError: there is an option that the method does not have.
        """
        settings, arguments = _names(self.kind), _names(self.kind.attribute)
        for name in options:
            if name not in settings and name not in arguments:
                known = ", ".join(sorted({*settings, *arguments}))
                raise InvalidInputError(
                    f"this method has no option {name!r}; it has device, reduce_axes, keepdims, "
                    f"{known}"
                )
        given = {name: value for name, value in options.items() if name in settings}
        return {**self.preset, **given}, {k: v for k, v in options.items() if k in arguments}


def _names(function: Callable[..., Any]) -> list[str]:
    return [name for name in signature(function).parameters if name not in WITHHELD]


#: Those that Quantus has as well mean the same under the same name.
METHODS: dict[str, Method] = {
    "LRP": Method(relprop.LRP, {"composite": "epsilon"}),
    **{f"LRP {name}": Method(relprop.LRP, {"composite": name}) for name in COMPOSITES},
    "DeepTaylor": Method(relprop.DeepTaylor),
    "Taylor": Method(relprop.Taylor),
    "DeepLift": Method(relprop.DeepLift),
    **{f"DeepLift {rule}": Method(relprop.DeepLift, {"rule": rule}) for rule in RULE_NAMES},
    "IntegratedGradients": Method(relprop.IntegratedGradients),
    "InputXGradient": Method(relprop.InputXGradient),
    "Gradient": Method(relprop.Gradient),
    "Saliency": Method(relprop.Gradient, magnitude=True),
    "SmoothGrad": Method(relprop.SmoothGrad),
    "GuidedBackprop": Method(relprop.GuidedBackprop),
    "Deconvolution": Method(relprop.Deconvnet),
}
