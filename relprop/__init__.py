"""relprop: which inputs made a trained network decide as it did.

Layer-wise relevance propagation and DeepLIFT for PyTorch models as they are, on native kernels.
"""

from relprop.attribution.deep_taylor import DeepTaylor
from relprop.attribution.deeplift import DeepLift, hypothetical
from relprop.attribution.gradient import Deconvnet, Gradient, GuidedBackprop, InputXGradient
from relprop.attribution.integrated_gradients import IntegratedGradients
from relprop.attribution.lrp import LRP
from relprop.attribution.references import Distribution
from relprop.attribution.smooth_grad import SmoothGrad
from relprop.attribution.taylor import Taylor
from relprop.errors import (
    CaptureError,
    InexactWarning,
    InvalidInputError,
    InvalidTypeError,
    NumericalError,
    OutOfMemoryError,
    RelpropError,
    UnsupportedOperatorError,
)
from relprop.ops.backends import backends
from relprop.report import Report
from relprop.rules.lrp.composite import Composite

__version__ = "0.1.0"

__all__ = [
    "LRP",
    "CaptureError",
    "Composite",
    "Deconvnet",
    "DeepLift",
    "DeepTaylor",
    "Distribution",
    "Gradient",
    "GuidedBackprop",
    "InexactWarning",
    "InputXGradient",
    "IntegratedGradients",
    "InvalidInputError",
    "InvalidTypeError",
    "NumericalError",
    "OutOfMemoryError",
    "RelpropError",
    "Report",
    "SmoothGrad",
    "Taylor",
    "UnsupportedOperatorError",
    "__version__",
    "backends",
    "hypothetical",
]
