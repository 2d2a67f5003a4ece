"""numpy's arrays, in which other packages hand over what a model reads."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from relprop.attribution.arguments import first_parameter

Array = npt.NDArray[Any]


def like_model(value: Any, model: nn.Module) -> Any:
    """An array as a tensor; floating-point tensors in the model's dtype, on its device.

    Anything else comes back as it is.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        value = torch.from_numpy(np.array(value))
    parameter = first_parameter(model)
    if parameter is None or not isinstance(value, Tensor) or not value.is_floating_point():
        return value
    return value.detach().to(parameter)
