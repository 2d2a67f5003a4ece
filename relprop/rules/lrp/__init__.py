"""The rules of LRP, and selectors of nodes to put them on: what a `Composite` is made of."""

from relprop.rules.lrp.composite import Composite
from relprop.rules.lrp.epsilon import Epsilon
from relprop.rules.lrp.input_layers import Flat, WSquare, ZBox
from relprop.rules.lrp.pools import ProportionalPool, Shared
from relprop.rules.lrp.presets import COMPOSITES
from relprop.rules.lrp.reweighted import Reweighted
from relprop.rules.lrp.selectors import depth, first, last
from relprop.rules.lrp.signed import AlphaBeta, Gamma, ZPlus
from relprop.rules.lrp.stabilizer import Stabilizer
from relprop.rules.lrp.structure import Halves, HalvesOfSums, Pass, Proportional, Winner
from relprop.rules.lrp.weighted import BIAS_POLICIES

__all__ = [
    "BIAS_POLICIES",
    "COMPOSITES",
    "AlphaBeta",
    "Composite",
    "Epsilon",
    "Flat",
    "Gamma",
    "Halves",
    "HalvesOfSums",
    "Pass",
    "Proportional",
    "ProportionalPool",
    "Reweighted",
    "Shared",
    "Stabilizer",
    "WSquare",
    "Winner",
    "ZBox",
    "ZPlus",
    "depth",
    "first",
    "last",
]
