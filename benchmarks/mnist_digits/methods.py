"""The methods that are compared, as data.

What needs nothing but a gradient is written here with torch's autograd, so that relprop is compared
with something that it has no part in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

import relprop

Explain = Callable[[Tensor, int], Tensor]
"""What each pixel of images (N, 1, H, W) has to do with the logit of a class, in their shape."""


class _GuidedReLU(torch.autograd.Function):
    """A ReLU that sends back only what is positive (Springenberg et al. 2014)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x.clamp_min(0)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        return gradient.clamp_min(0) * (x > 0)


class _Guided(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return _GuidedReLU.apply(x)


def gradient(model: nn.Module) -> Explain:
    """The gradient of a logit."""

    def explain(images: Tensor, target: int) -> Tensor:
        x = images.detach().requires_grad_()
        (found,) = torch.autograd.grad(model(x)[:, target].sum(), x)
        return found

    return explain


def guided_backprop(model: nn.Module) -> Explain:
    """The gradient with guided ReLUs; they must be modules of a sequential model."""
    return gradient(
        nn.Sequential(*(_Guided() if isinstance(m, nn.ReLU) else m for m in model.children()))
    )


def integrated_gradient(model: nn.Module, steps: int) -> Explain:
    """The mean gradient on the way from zeros, at midpoints (Sundararajan et al. 2017)."""
    at = gradient(model)

    def explain(images: Tensor, target: int) -> Tensor:
        places = [(step + 0.5) / steps for step in range(steps)]
        return torch.stack([at(images * place, target) for place in places]).mean(0)

    return explain


def _times_input(method: Explain) -> Explain:
    return lambda images, target: method(images, target) * images


def _on_ink(method: Explain) -> Explain:
    """Without the pixels that are black already; erasing these would waste the method's turns."""
    return lambda images, target: method(images, target) * (images > 0)


def _magnitude(method: Explain) -> Explain:
    return lambda images, target: method(images, target).abs()


def _attribute(attributor: Any) -> Explain:
    return lambda images, target: attributor.attribute(images, target=target)


METHODS: dict[str, Callable[[nn.Module], Explain]] = {
    # Magnitudes as Simonyan et al. 2013 have them. The paper's code, too, masks these two by ink.
    "gradient magnitude": lambda model: _on_ink(_magnitude(gradient(model))),
    "guided backprop": lambda model: _on_ink(guided_backprop(model)),
    "gradient x input": lambda model: _times_input(gradient(model)),
    "guided backprop x input": lambda model: _times_input(guided_backprop(model)),
    "integrated gradients, 5": lambda model: _times_input(integrated_gradient(model, 5)),
    "integrated gradients, 10": lambda model: _times_input(integrated_gradient(model, 10)),
    "LRP epsilon": lambda model: _attribute(relprop.LRP(model, composite="epsilon")),
    "DeepLIFT Rescale": lambda model: _attribute(relprop.DeepLift(model, rule="rescale")),
    "DeepLIFT RevealCancel": lambda model: _attribute(
        relprop.DeepLift(model, rule="reveal_cancel")
    ),
}
"""A function of the model for every name; it may raise `relprop.RelpropError`."""
