"""Where a model is: other packages move it to a device that is named, relprop leaves it alone."""

from __future__ import annotations

import torch
from torch import nn

from relprop.attribution.arguments import first_parameter
from relprop.errors import InvalidInputError


def require_on(device: str | torch.device | None, model: nn.Module) -> None:
    """Raise `InvalidInputError` if a device is named on which the model is not."""
    parameter = first_parameter(model)
    if device is None or parameter is None:
        return
    if str(device).partition(":")[0] != parameter.device.type:
        raise InvalidInputError(
            f"device must be where the model is, {parameter.device}, as the model is not moved; "
            f"got {str(device)!r}: call model.to({str(device)!r}) first"
        )
