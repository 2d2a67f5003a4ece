"""zennit's attributors that send something back through the model, once or many times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from relprop.attribution.gradient_sums import check_count
from relprop.compat.zennit.attributor import Attributor, AttrOutput
from relprop.compat.zennit.core import Composite
from relprop.compat.zennit.methods import Seed, checked_seed
from relprop.compat.zennit.modified import ModifiedModel


class Gradient(Attributor):
    """The gradient, or with a composite the relevance, of what `attr_output` weighs.

    Args:
        model, composite, attr_output, output, unsupported: as in `Attributor`.
        create_graph: whether output and attribution have a graph, so that they can be
            differentiated, by the input and the model's weights. No rule is in the way of that.
        retain_graph: whether the output has a graph, so that it can be differentiated again, by the
            composite's rules.

    Example:
        >>> with Gradient(model=model, composite=EpsilonPlusFlat()) as attributor:
        ...     output, relevance = attributor(images, torch.eye(1000)[[437]])
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        **settings: Any,
    ) -> None:
        super().__init__(model, composite, attr_output, **settings)
        self.create_graph = create_graph
        self.retain_graph = retain_graph

    def grad(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """The output at `input`, and what reaches `input`."""
        method = self._rules.method(self.model, *self._settings)
        if self.create_graph or not self.retain_graph:
            return method.explain(input, attr_output_fn, self.create_graph)
        x = input if input.requires_grad else input.detach().requires_grad_()
        y = ModifiedModel(self.model, method)(x)
        (found,) = torch.autograd.grad(y, x, checked_seed(attr_output_fn(y), y), retain_graph=True)
        return y, found

    def forward(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """One gradient."""
        return self.grad(input, attr_output_fn)


class SmoothGrad(Gradient):
    """The mean of gradients around the input, the last of them at the input (Smilkov et al. 2017).

    Args:
        model, composite, attr_output, create_graph, retain_graph, output, unsupported: as in
            `Gradient`.
        noise_level: the noise's standard deviation, in units of an example's range.
        n_iter: of how many gradients to take the mean.

    Raises:
        InvalidInputError: `n_iter` is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        noise_level: float = 0.1,
        n_iter: int = 20,
        **settings: Any,
    ) -> None:
        super().__init__(model, composite, attr_output, create_graph, retain_graph, **settings)
        self.noise_level = noise_level
        check_count(n_iter, "n_iter")
        self.n_iter = n_iter

    def forward(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """The output at the input, and the mean."""
        dims = tuple(range(1, input.dim()))
        sigma = self.noise_level * (input.amax(dims, True) - input.amin(dims, True))
        total = torch.zeros_like(input)
        for _ in range(self.n_iter - 1):
            noisy = input + sigma * torch.randn_like(input)
            total = total + self.grad(noisy, attr_output_fn)[1]
        output, found = self.grad(input, attr_output_fn)
        return output, (total + found) / self.n_iter


class IntegratedGradients(Gradient):
    """`(x - x0) 1/n sum_k df/dx (x0 + k/n (x - x0))`, k = 1 .. n (Sundararajan et al. 2017).

    Args:
        model, composite, attr_output, create_graph, retain_graph, output, unsupported: as in
            `Gradient`.
        baseline_fn: a function from x to the baseline x0; None for zeros.
        n_iter: n.

    Raises:
        InvalidInputError: `n_iter` is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: AttrOutput = None,
        create_graph: bool = False,
        retain_graph: bool | None = None,
        baseline_fn: Callable[[Tensor], Tensor] | None = None,
        n_iter: int = 20,
        **settings: Any,
    ) -> None:
        super().__init__(model, composite, attr_output, create_graph, retain_graph, **settings)
        self.baseline_fn = torch.zeros_like if baseline_fn is None else baseline_fn
        check_count(n_iter, "n_iter")
        self.n_iter = n_iter

    def forward(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """The output at the input, and the integral."""
        x0 = self.baseline_fn(input)
        d = input - x0
        total = torch.zeros_like(input)
        for k in range(1, self.n_iter + 1):
            output, found = self.grad(x0 + k / self.n_iter * d, attr_output_fn)
            total = total + found
        return output, d * total / self.n_iter
