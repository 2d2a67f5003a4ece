"""Baselines: the reference inputs that an explanation compares an input with.

A baseline stands for "the evidence is missing". `blank` and `blur` make one of each input, `mean`
one of a data set; `uniform` and `dinucleotide_shuffle` draw many, over which one averages.
"""

from relprop.baselines.data import mean, uniform
from relprop.baselines.images import BASELINES, BLUR_FRACTION, blank, blur
from relprop.baselines.sequences import dinucleotide_shuffle

__all__ = [
    "BASELINES",
    "BLUR_FRACTION",
    "blank",
    "blur",
    "dinucleotide_shuffle",
    "mean",
    "uniform",
]
