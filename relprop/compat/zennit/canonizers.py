"""zennit's canonizers, by name: relprop folds batch norms and splits additions by itself."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torch import nn

from relprop.errors import InvalidInputError, InvalidTypeError


class Canonizer:
    """Base of the canonizers. They may be given wherever zennit takes them, and change nothing."""

    def apply(self, root_module: nn.Module) -> list[Canonizer]:
        """No instances, as there is nothing to undo."""
        return []

    def remove(self) -> None:
        """There is nothing to undo."""


class MergeBatchNorm(Canonizer):
    """Base of those that fold a batch norm into a layer before it: needless here."""


class SequentialMergeBatchNorm(MergeBatchNorm):
    """Folds batch norms into the layers that come before them: needless here."""


class NamedMergeBatchNorm(MergeBatchNorm):
    """Folds batch norms into the layers named with them: needless here for one layer each.

    Args:
        name_map: pairs of the names of layers, and the name of a batch norm.

    Raises:
        InvalidInputError: a batch norm comes with more than one layer.
    """

    def __init__(self, name_map: Sequence[tuple[Sequence[str], str]]) -> None:
        self.name_map = name_map
        for layers, norm in name_map:
            if len(layers) != 1:
                raise InvalidInputError(
                    "a batch norm must come with the one layer before it, as only such are folded; "
                    f"got {list(layers)!r} for {norm!r}"
                )


class AttributeCanonizer(Canonizer):
    """Sets attributes of modules, such as their forward: not done here, as models stay as they are.

    Raises:
        InvalidTypeError: always.
    """

    def __init__(self, attribute_map: object) -> None:
        raise InvalidTypeError(
            f"{type(self).__name__} cannot be used, as models are never changed here: set the "
            "attributes on a copy of the model, and give that copy"
        )


class CompositeCanonizer(Canonizer):
    """Several canonizers.

    Args:
        canonizers: those.
    """

    def __init__(self, canonizers: Iterable[Canonizer]) -> None:
        self.canonizers = checked_canonizers(canonizers)


def checked_canonizers(given: Iterable[object] | None) -> list[Canonizer]:
    """The canonizers, if they are of those that need not do anything.

    Raises:
        InvalidTypeError: one of them has an `apply` of its own, or is no canonizer.
    """
    canonizers = []
    for one in given or ():
        if not isinstance(one, Canonizer) or type(one).apply is not Canonizer.apply:
            raise InvalidTypeError(
                "a canonizer must be one of those in relprop.compat.zennit, which change nothing, "
                f"as models are never changed here; got {type(one).__module__}."
                f"{type(one).__name__}: apply it to a copy of the model, and give that copy"
            )
        canonizers.append(one)
    return canonizers
