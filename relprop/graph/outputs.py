"""Which of the tensors that a model returns is explained."""

from __future__ import annotations

from typing import Any

from torch import Tensor, fx
from torch.utils._pytree import SequenceKey, keystr, tree_flatten_with_path

from relprop.errors import CaptureError

#: An index, a key, or several of them where outputs are nested; None for the only tensor there is.
Output = int | str | tuple[int | str, ...] | None


def choose_output(returned: Any, output: Output) -> Any:
    """The tensor, or what stands for it, that `output` means among those that a model returns.

    Raises `CaptureError`, naming what there is, where it means none or more than one.
    """
    leaves = {
        tuple(_key(key) for key in path): leaf
        for path, leaf in tree_flatten_with_path(returned)[0]
        if isinstance(leaf, (Tensor, fx.Node))
    }
    wanted = () if output is None else output if isinstance(output, tuple) else (output,)
    found = [leaf for path, leaf in leaves.items() if path[: len(wanted)] == wanted]
    if len(found) == 1:
        return found[0]
    names = ", ".join(repr(path[0] if len(path) == 1 else path) for path in leaves)
    asked = "none was named" if output is None else f"{output!r} names {len(found)} of them"
    raise CaptureError(
        f"the model returns {len(leaves)} tensors, and relprop explains one: say which by "
        f"output=, one of {names}; {asked}"
    )


def _key(key: Any) -> int | str:
    """The index or the name that an entry of a path stands for."""
    if isinstance(key, SequenceKey):
        return key.idx
    named = getattr(key, "key", getattr(key, "name", None))
    return named if isinstance(named, (int, str)) else keystr((key,))
