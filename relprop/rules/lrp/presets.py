"""Composites by the names that people know them by."""

from __future__ import annotations

from relprop.rules.lrp.composite import Composite
from relprop.rules.lrp.epsilon import Epsilon
from relprop.rules.lrp.input_layers import Flat, ZBox
from relprop.rules.lrp.selectors import first
from relprop.rules.lrp.signed import AlphaBeta, Gamma, ZPlus

#: Dense layers have the epsilon rule wherever no other is named. The `epsilon_*` presets and
#: excitation backprop are as in zennit, the `sequential_preset_*` as in iNNvestigate.
COMPOSITES: dict[str, Composite] = {
    "epsilon": Composite([]),
    "epsilon_plus": Composite([("convolution", ZPlus())]),
    "epsilon_plus_flat": Composite([(first(), Flat()), ("convolution", ZPlus())]),
    "epsilon_plus_box": Composite([(first(), ZBox()), ("convolution", ZPlus())]),
    "epsilon_gamma_box": Composite([(first(), ZBox()), ("convolution", Gamma(0.25))]),
    "epsilon_alpha2_beta1": Composite([("convolution", AlphaBeta(2, 1))]),
    "epsilon_alpha2_beta1_flat": Composite([(first(), Flat()), ("convolution", AlphaBeta(2, 1))]),
    "excitation_backprop": Composite([("convolution", ZPlus()), ("dense", ZPlus())]),
    "sequential_preset_a": Composite([("dense", Epsilon(0.1)), ("convolution", AlphaBeta(1, 0))]),
    "sequential_preset_b": Composite([("dense", Epsilon(0.1)), ("convolution", AlphaBeta(2, 1))]),
    "sequential_preset_a_flat": Composite(
        [(first(), Flat()), ("dense", Epsilon(0.1)), ("convolution", AlphaBeta(1, 0))]
    ),
    "sequential_preset_b_flat": Composite(
        [(first(), Flat()), ("dense", Epsilon(0.1)), ("convolution", AlphaBeta(2, 1))]
    ),
}
