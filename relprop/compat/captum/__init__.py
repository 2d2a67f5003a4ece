"""captum's DeepLIFT and LRP classes, with relprop underneath: change the import, keep the code.

Signatures, kinds of arguments, what is returned, and the sign and shape of deltas are those of
captum 0.9, which need not be installed. docs/captum.md says how to move over, and what differs.
"""

from relprop.compat.captum.deep_lift import DeepLift, DeepLiftShap
from relprop.compat.captum.errors import MisuseError, OutOfRangeError, UnsupportedLayerError
from relprop.compat.captum.layer_deep_lift import LayerDeepLift, LayerDeepLiftShap
from relprop.compat.captum.layer_lrp import LayerLRP
from relprop.compat.captum.lrp import LRP
from relprop.compat.captum.neuron_deep_lift import NeuronDeepLift, NeuronDeepLiftShap
from relprop.compat.captum.rules import (
    Alpha1_Beta0_Rule,
    EpsilonRule,
    GammaRule,
    IdentityRule,
    PropagationRule,
)

__all__ = [
    "LRP",
    "Alpha1_Beta0_Rule",
    "DeepLift",
    "DeepLiftShap",
    "EpsilonRule",
    "GammaRule",
    "IdentityRule",
    "LayerDeepLift",
    "LayerDeepLiftShap",
    "LayerLRP",
    "MisuseError",
    "NeuronDeepLift",
    "NeuronDeepLiftShap",
    "OutOfRangeError",
    "PropagationRule",
    "UnsupportedLayerError",
]
