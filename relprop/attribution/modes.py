"""Under which of torch's modes an explanation is made, whatever the user's code has set."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch

from relprop.errors import InvalidInputError

#: Devices that torch's autocast may be on for.
DEVICES = ("cpu", "cuda")


@contextmanager
def explaining(create_graph: bool = False) -> Iterator[None]:
    """Gradients recorded if they are asked for and only then; and no autocast.

    Relevance is made of ratios, whose denominators may be small differences of large numbers: it is
    computed in the model's own type, and not in another one step by step.
    """
    if create_graph and not torch.is_grad_enabled():
        raise InvalidInputError(
            "create_graph must be False where torch records no gradients, as under torch.no_grad() "
            "or torch.inference_mode()"
        )
    with ExitStack() as modes:
        modes.enter_context(torch.set_grad_enabled(create_graph))
        for device in DEVICES:
            if torch.is_autocast_enabled(device):
                modes.enter_context(torch.autocast(device, enabled=False))
        yield
