"""Composites made of maps: from kinds of modules, or from names, to rules."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

from torch import nn

from relprop.compat.zennit.canonizers import Canonizer
from relprop.compat.zennit.core import Composite
from relprop.compat.zennit.rules import Hook
from relprop.errors import InvalidTypeError

#: Pairs of a kind of module, as `isinstance` takes it, and a rule.
LayerMap = Sequence[tuple[Any, Hook]]
#: Pairs of names of modules and a rule.
NameMap = Sequence[tuple[Sequence[str], Hook]]


class LayerMapComposite(Composite):
    """A module has the rule of the first pair of which it is of the kind.

    Args:
        layer_map: pairs of a kind, one of `relprop.compat.zennit.types`, a class or a tuple of
            them, and a rule.
        canonizers: as in `Composite`.
    """

    def __init__(
        self, layer_map: LayerMap | None, canonizers: Iterable[Canonizer] | None = None
    ) -> None:
        self.layer_map = _pairs("layer_map", layer_map)
        super().__init__(self.mapping, canonizers)

    def mapping(self, ctx: dict[Any, Any], name: str, module: nn.Module) -> Hook | None:
        """The module's rule."""
        return next((rule for kind, rule in self.layer_map if isinstance(module, kind)), None)


class SpecialFirstLayerMapComposite(LayerMapComposite):
    """The same, with other rules for the first module that is called and of a kind of theirs.

    Args:
        layer_map: as in `LayerMapComposite`.
        first_map: pairs of the same form, for that module.
        canonizers: as in `Composite`.
    """

    def __init__(
        self,
        layer_map: LayerMap | None,
        first_map: LayerMap | None,
        canonizers: Iterable[Canonizer] | None = None,
    ) -> None:
        self.first_map = _pairs("first_map", first_map)
        super().__init__(layer_map, canonizers)

    def mapping(self, ctx: dict[Any, Any], name: str, module: nn.Module) -> Hook | None:
        """The module's rule."""
        if not ctx.get("first_layer_visited"):
            for kind, rule in self.first_map:
                if isinstance(module, kind):
                    ctx["first_layer_visited"] = True
                    return rule
        return super().mapping(ctx, name, module)


class NameMapComposite(Composite):
    """A module has the rule of the first pair in which it is named.

    Args:
        name_map: pairs of a list of names, such as `"features.0"`, and a rule.
        canonizers: as in `Composite`.
    """

    def __init__(
        self, name_map: NameMap | None, canonizers: Iterable[Canonizer] | None = None
    ) -> None:
        self.name_map = _pairs("name_map", name_map)
        super().__init__(self.mapping, canonizers)

    def mapping(self, ctx: dict[Any, Any], name: str, module: nn.Module) -> Hook | None:
        """The module's rule."""
        return next((rule for names, rule in self.name_map if name in names), None)


class MixedComposite(Composite):
    """A module has the rule of the first composite that has one for it.

    Args:
        composites: those.
        canonizers: as in `Composite`.
    """

    def __init__(
        self, composites: Sequence[Composite], canonizers: Iterable[Canonizer] | None = None
    ) -> None:
        self.composites = composites
        self.relu = next((one.relu for one in composites if one.relu is not None), None)
        inner = (one.canonizers for one in composites)
        super().__init__(self.mapping, [*(canonizers or ()), *itertools.chain(*inner)])

    def mapping(self, ctx: dict[Any, Any], name: str, module: nn.Module) -> Hook | None:
        """The module's rule: all composites are asked, as each may take notes."""
        rules = [one.module_map(ctx.setdefault(one, {}), name, module) for one in self.composites]
        return next((rule for rule in rules if rule is not None), None)


class NameLayerMapComposite(MixedComposite):
    """A module has the rule for its name, or else the rule for its kind.

    Args:
        name_map: as in `NameMapComposite`.
        layer_map: as in `LayerMapComposite`.
        canonizers: as in `Composite`.
    """

    def __init__(
        self,
        name_map: NameMap | None = None,
        layer_map: LayerMap | None = None,
        canonizers: Iterable[Canonizer] | None = None,
    ) -> None:
        super().__init__([NameMapComposite(name_map), LayerMapComposite(layer_map)], canonizers)


def _pairs(name: str, given: Sequence[Any] | None) -> list[tuple[Any, Hook]]:
    """The pairs of a map, if they are such."""
    pairs = []
    for pair in given or ():
        if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not isinstance(pair[1], Hook):
            raise InvalidTypeError(
                f"{name} must be a list of pairs, the second of each a rule of "
                f"relprop.compat.zennit.rules; got {pair!r}"
            )
        pairs.append((pair[0], pair[1]))
    return pairs
