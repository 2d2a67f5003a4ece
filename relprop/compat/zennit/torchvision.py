"""zennit's canonizers for torchvision's models, by name: needless here."""

from __future__ import annotations

from relprop.compat.zennit.canonizers import Canonizer, SequentialMergeBatchNorm


class VGGCanonizer(SequentialMergeBatchNorm):
    """Folds batch norms: done in any case."""


class ResNetBottleneckCanonizer(Canonizer):
    """Makes a module of a block's addition: every addition is split in proportion."""


class ResNetBasicBlockCanonizer(Canonizer):
    """Makes a module of a block's addition: every addition is split in proportion."""


class ResNetCanonizer(Canonizer):
    """Both, and folds batch norms."""
