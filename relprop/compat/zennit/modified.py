"""A model whose output, differentiated by torch's autograd, gives what a composite makes of it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from relprop.attribution.explanation import Tensors
from relprop.compat.zennit.methods import Method, checked_seed, explained
from relprop.graph.node import Run


class ModifiedModel(nn.Module):
    """The model, with another way back; what it is asked for besides is the model's own.

    Args:
        model: the model, which is run in evaluation mode.
        method: what goes back through it.
    """

    def __init__(self, model: nn.Module, method: Method) -> None:
        super().__init__()
        self.model = model
        self.method = method
        self.asked = False

    def forward(self, *arguments: Any) -> Tensor:
        """The model's output; its gradient by floating-point arguments is the method's."""
        self.asked = True
        apply: Callable[..., Tensor] = _Explained.apply
        return apply(self.method, *arguments)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


class _Explained(Function):
    """A method's forward and backward sweep, as one step of autograd's."""

    @staticmethod
    def forward(ctx: Any, method: Method, *arguments: Any) -> Tensor:
        """The model's output."""
        plan, run = method.forward(arguments)
        ctx.method, ctx.plan, ctx.count = method, plan, len(explained(arguments))
        ctx.others = len(arguments) - ctx.count
        ctx.names = tuple(run.values)
        ctx.save_for_backward(*run.values.values())
        output = run.values[plan.graph.output]
        ctx.frame = _run(run, {})
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, seed: Tensor) -> tuple[Tensor | None, ...]:
        """What reaches the arguments; torch says so if there has been a way back before."""
        run = _run(ctx.frame, dict(zip(ctx.names, ctx.saved_tensors, strict=True)))
        output = run.values[ctx.plan.graph.output]
        found: Tensors = ctx.method.backward(ctx.plan, run, checked_seed(seed, output), ctx.count)
        return (None, *found, *[None] * ctx.others)


def _run(like: Run, values: dict[str, Tensor]) -> Run:
    """A run that knows what another one does, but for its tensors."""
    one = Run(like.constants, like.winograd, like.values.again)
    one.values.update(values)
    one.shapes, one.dtypes = like.shapes, like.dtypes
    one.scalars.update(like.scalars)
    return one
