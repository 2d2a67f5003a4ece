"""A stand-in for a CUDA graph: a tape of the operators of a computation, played into its tensors.

As on a GPU, what is played reads and writes the memory that it did when it was recorded, and no
line of Python that was between the operators runs again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from relprop.attribution.explanation import Sent

#: What brings elements to the CPU, or brings them from there.
WAITING = {
    f"aten::{name}" for name in ("_local_scalar_dense", "equal", "nonzero", "lift_fresh", "item")
}


class Tape(TorchDispatchMode):
    """Writes down every operator, and refuses those for which a CPU would wait for a GPU."""

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[tuple[Any, Sequence[Any], dict[str, Any], Any]] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        assert func.name().split(".")[0] not in WAITING, f"{func} makes the CPU wait"
        result = func(*args, **(kwargs or {}))
        self.steps.append((func, args, kwargs or {}, result))
        return result

    def play(self) -> None:
        for func, args, kwargs, result in self.steps:
            own = {t.untyped_storage().data_ptr() for t in tensors((args, kwargs))}
            again = func(*args, **kwargs)
            for old, new in zip(tensors(result), tensors(again), strict=True):
                if old.untyped_storage().data_ptr() not in own:  # no view, and not in place
                    old.copy_(new)


class TapeRecorder:
    """Counts its recordings, and leaves no result in them that was not played."""

    def __init__(self) -> None:
        self.count = 0

    def record(self, compute: Callable[[], list[Sent]]) -> tuple[list[Sent], Callable[[], None]]:
        compute()  # as on a GPU: what is made once is made before
        self.count += 1
        with Tape() as tape:
            found = compute()
        for one in found:
            for t in (*one.explanation.inputs, one.score):
                t.fill_(float("nan"))
        return found, tape.play


def tensors(tree: Any) -> Iterator[Tensor]:
    return (leaf for leaf in tree_leaves(tree) if isinstance(leaf, Tensor))
