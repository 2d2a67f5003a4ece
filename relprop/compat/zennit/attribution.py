"""zennit's attributors: a model, perhaps a composite, and what to send back from the output."""

from relprop.compat.zennit.attributor import Attributor
from relprop.compat.zennit.gradients import Gradient, IntegratedGradients, SmoothGrad
from relprop.compat.zennit.occlusion import Occlusion, occlude_independent

__all__ = [
    "Attributor",
    "Gradient",
    "IntegratedGradients",
    "Occlusion",
    "SmoothGrad",
    "occlude_independent",
]
