"""What a kernel alone takes: a timing loop in C++ around it, without torch's dispatcher.

The operator is called once, through torch, and comes to its kernel with its operands ready. There
the loop takes over: it runs that very kernel on these operands, again and again. So checks,
allocations and changes of layout are not timed, and results are those of the operator.
"""

import ctypes
import importlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from ..errors import InvalidInputError
from .library import KERNELS, SCHEMAS, library_path


@dataclass(frozen=True)
class KernelTiming:
    """What came of timing one kernel.

    Attributes:
        results: what the operator returned, a tensor or several.
        seconds: of each round.
    """

    results: Any
    seconds: tuple[float, ...]


def time_kernel(operator: str, arguments: Sequence[Any], rounds: int = 20) -> KernelTiming:
    """Time the CPU kernel of an operator in a loop in C++, on as many threads as torch has.

    Args:
        operator: its name in ``torch.ops.relprop``.
        arguments: as its schema has them, with tensors on the CPU.
        rounds: how often the kernel is timed, after it has run once to warm up.

    Returns:
        The operator's results, and seconds for every round.

    Raises:
        InvalidInputError: there is no such operator, it does not take these arguments, no kernel of
            relprop's serves it, or there is no round.
    """
    if operator not in SCHEMAS:
        names = ", ".join(SCHEMAS)
        raise InvalidInputError(f"operator must be one of {names}; got {operator!r}")
    if rounds < 1:
        raise InvalidInputError(f"rounds must be at least 1, got {rounds}")
    call: Callable[..., Any] = getattr(torch.ops.relprop, operator)
    try:
        results, kernels = _bindings().time_kernels(
            _run_kernels_by(), lambda: call(*arguments), rounds
        )
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise InvalidInputError(f"{operator} does not take these arguments: {reason}") from error
    if len(kernels) != 1:
        raise InvalidInputError(
            f"{operator} must come to one CPU kernel of relprop's to be timed, and came to "
            f"{len(kernels)}: relprop.backends() says what serves it, and empty tensors need none"
        )
    return KernelTiming(results, tuple(kernels[0]))


def time_copy(size: int, rounds: int = 20) -> tuple[float, ...]:
    """Time a copy on one thread in the same loop: what kernels that only move memory are held to.

    Args:
        size: bytes to copy, each of them read once and written once.
        rounds: how often.

    Returns:
        Seconds of every round.

    Raises:
        InvalidInputError: there is nothing to copy, or no round.
    """
    if size < 1 or rounds < 1:
        raise InvalidInputError(
            f"a copy takes at least 1 byte and 1 round to be timed, got {size} and {rounds}"
        )
    return tuple(_bindings().time_copy(size, rounds))


def _bindings() -> Any:
    try:
        return importlib.import_module("relprop._bindings")
    except ImportError as error:
        raise InvalidInputError(
            f"the timing loop must be built for this Python, and relprop._bindings does not load "
            f"({error}): install relprop from source, where there is a C++ compiler"
        ) from error


def _run_kernels_by() -> int:
    """The address at which the kernels' library takes who is to run them."""
    absent = next(kernels.absent for kernels in KERNELS if kernels.device == "cpu")
    if absent:
        raise InvalidInputError(f"there must be CPU kernels to time, and there are none: {absent}")
    library = ctypes.CDLL(str(library_path("_cpu")))  # a second handle of what torch has loaded
    address = ctypes.cast(library.relprop_run_kernels_by, ctypes.c_void_p).value
    assert address is not None
    return address
