"""Whether torch records gradients while an explanation is made."""

from __future__ import annotations

import torch

from relprop.errors import InvalidInputError


def explaining(create_graph: bool = False) -> torch.set_grad_enabled:
    """A context in which gradients are recorded if they are asked for, and only then.

    Raises InvalidInputError if they are, where the caller has them turned off.
    """
    if create_graph and not torch.is_grad_enabled():
        raise InvalidInputError(
            "create_graph must be False where torch records no gradients, as under torch.no_grad() "
            "or torch.inference_mode()"
        )
    return torch.set_grad_enabled(create_graph)
