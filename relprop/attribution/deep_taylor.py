"""Deep Taylor decomposition (Montavon et al. 2017)."""

from __future__ import annotations

from torch import nn
from torch.export import ExportedProgram

from relprop.attribution.lrp import LRP
from relprop.graph.outputs import Output
from relprop.rules.lrp.composite import Composite
from relprop.rules.lrp.input_layers import WSquare, ZBox
from relprop.rules.lrp.selectors import first
from relprop.rules.lrp.signed import ZPlus
from relprop.rules.lrp.weighted import Bound


class DeepTaylor(LRP):
    """Relevance of every input value for one output, by Taylor expansion of each neuron.

    The roots of the expansions give the z+ rule inside the network (Montavon et al. 2017, eq. 14);
    on the layers that read the input the z^B rule where it is bounded (eq. 15), else the w^2 rule
    (eq. 12). Biases are left out of the denominators, so relevance has the sign of the score
    everywhere and sums to it, but for neurons that no input contributes to. A softmax inside the
    network is crossed as by `LRP`, so that neither holds for what lies below it.

    Args:
        model: a module, explained in evaluation mode, or an exported program.
        low, high: bounds of the inputs: numbers, or tensors that broadcast to an input; None for
            both where there are none.
        output: which of several tensors to explain that the model returns: its index or key, a
            tuple of these where they are nested.
        unsupported: `"error"`, or `"gradient"` to cross operators without a rule by their gradient.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above.

    Example:
        >>> relevance = DeepTaylor(model, low=0.0, high=1.0).attribute(images, target=281)
    """

    def __init__(
        self,
        model: nn.Module | ExportedProgram,
        low: Bound | None = None,
        high: Bound | None = None,
        *,
        output: Output = None,
        unsupported: str = "error",
    ) -> None:
        at_first = WSquare() if low is None and high is None else ZBox(low=low, high=high)
        composite = Composite([(first(), at_first), ("convolution", ZPlus()), ("dense", ZPlus())])
        super().__init__(model, composite, bias="ignore", output=output, unsupported=unsupported)
