"""What zennit's attributors have in common: a model, a composite, what to send back."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from torch import Tensor, nn

from relprop.compat.zennit.core import Composite
from relprop.compat.zennit.methods import Seed
from relprop.errors import InvalidTypeError
from relprop.graph.outputs import Output

if TYPE_CHECKING:
    from typing_extensions import Self

AttrOutput = Tensor | Callable[[Tensor], Tensor] | None


class Attributor:
    """Base of the attributors: called with an input, they give output and attribution.

    Args:
        model: the model, explained in evaluation mode, and never changed.
        composite: its rules; None for the plain gradient.
        attr_output: what to send back: a tensor in the shape of the output, a function from the
            output to one, or None for the output itself.
        output, unsupported: as in `Composite.register`.
    """

    def __init__(
        self,
        model: nn.Module,
        composite: Composite | None = None,
        attr_output: AttrOutput = None,
        *,
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        if composite is not None and not isinstance(composite, Composite):
            raise InvalidTypeError(
                "composite must be one of relprop.compat.zennit.composites, such as EpsilonPlus(); "
                f"got {type(composite).__module__}.{type(composite).__name__}"
            )
        self.model = model
        self.composite = composite
        self.attr_output_fn = _as_seed(attr_output)
        self._rules = Composite() if composite is None else composite
        self._settings = (output, unsupported)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def __call__(self, input: Tensor, attr_output: AttrOutput = None) -> tuple[Tensor, Tensor]:
        """The model's output for an input, and the input's attribution.

        Args:
            input: shape (N, ...).
            attr_output: as in the construction; None for what was said there.

        Returns:
            The output, and a tensor in the shape of `input`. Neither has a graph, unless
            `create_graph` or `retain_graph` is set.

        Raises:
            InvalidInputError, InvalidTypeError: input, rules, or what to send back cannot be used.
            CaptureError, UnsupportedOperatorError, NumericalError: the model cannot be explained.
        """
        if not isinstance(input, Tensor):
            raise InvalidTypeError(f"the input must be a tensor; got {type(input).__name__}")
        seed = self.attr_output_fn if attr_output is None else _as_seed(attr_output)
        return self.forward(input, seed)

    def inactive(self) -> AbstractContextManager[None]:
        """See `Composite.inactive`."""
        return self._rules.inactive()

    def forward(self, input: Tensor, attr_output_fn: Seed) -> tuple[Tensor, Tensor]:
        """The output, and the attribution for what a function of the output says."""
        raise NotImplementedError


def _as_seed(attr_output: AttrOutput) -> Seed:
    """What to send back, as a function of the output."""
    if attr_output is None:
        return lambda output: output
    return attr_output if callable(attr_output) else lambda output: attr_output
