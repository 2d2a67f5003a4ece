"""Which of two ways of convolving takes less time on this machine: measured once a shape, and kept.

The kernel of `fused_convolution` stands for torch's convolutions only where it was measured to be
faster than they are. Where nothing can be measured, what was measured before holds, and else torch
convolves.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

#: What decides: the median of so many rounds, after one that is not counted.
ROUNDS = 5
#: Times of torch's that the kernel may take to be chosen: so that noise does not choose.
MOST = 0.95
#: Multiplications from which on measuring is worth its own time.
LEAST_WORK = 1 << 26

Convolve = Callable[[], object]


@dataclass(frozen=True)
class Convolved:
    """What is convolved, and how: all that the time depends on.

    Attributes:
        form: which products, such as "W+ and W-".
        x: the shape of what is convolved, or sent back.
        weight: the shape of the filters.
        stride, padding: the convolution's.
        result: rows and columns of the result.
        dtype: of all tensors.
        device: the GPU.
    """

    form: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    result: tuple[int, ...]
    dtype: torch.dtype
    device: torch.device

    @property
    def work(self) -> int:
        """Multiplications of one of the products; its strides leave the smaller image's places."""
        out, inputs, rows, columns = self.weight
        places = min(self.x[2] * self.x[3], self.result[0] * self.result[1])
        return self.x[0] * places * out * inputs * rows * columns


@dataclass(frozen=True)
class Choice:
    """What was measured.

    Attributes:
        convolved: what the choice is for.
        kernel: seconds that relprop's kernel takes.
        torch: seconds that torch's convolutions take.
    """

    convolved: Convolved
    kernel: float
    torch: float

    @property
    def takes(self) -> str:
        """What is used: "kernel" or "torch"."""
        return "kernel" if self.kernel < MOST * self.torch else "torch"


@dataclass(frozen=True)
class ConvolutionChoices:
    """What was measured so far in this process; prints as a table.

    Attributes:
        rows: one for every shape, in the order in which they were measured.
    """

    rows: tuple[Choice, ...]

    def __str__(self) -> str:
        """One line for every shape."""
        heading = ("products", "images", "filters", "stride", "dtype", "kernel", "torch", "takes")
        table = [heading, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (zip(line, widths, strict=True) for line in table)
        return "\n".join("  ".join(c.ljust(w) for c, w in line).rstrip() for line in lines)


def _cells(choice: Choice) -> tuple[str, ...]:
    what = choice.convolved
    sizes = ("x".join(map(str, sizes)) for sizes in (what.x, what.weight, what.stride))
    times = (f"{1e3 * seconds:.3f} ms" for seconds in (choice.kernel, choice.torch))
    return (what.form, *sizes, str(what.dtype).removeprefix("torch."), *times, choice.takes)


_choices: dict[Convolved, Choice] = {}


def convolution_choices() -> ConvolutionChoices:
    """Say for every convolution measured so far which way is taken, and what either took.

    Returns:
        A table; ``print(relprop.ops.convolution_choices())`` shows it.
    """
    return ConvolutionChoices(tuple(_choices.values()))


def forget_choices() -> None:
    """Let every choice be measured again, as after a change of torch's switches."""
    _choices.clear()


def kernel_is_faster(x: Tensor, convolved: Convolved, kernel: Convolve, by_torch: Convolve) -> bool:
    """Whether a kernel was measured to be faster than torch; if need be, it is measured now.

    Args:
        x: what is convolved.
        convolved: what the choice is kept for.
        kernel: one way of convolving.
        by_torch: the other.

    Returns:
        False where nothing was measured, and nothing can be.
    """
    choice = _choices.get(convolved)
    if choice is None and can_measure(x) and convolved.work >= LEAST_WORK:
        choice = _measured(convolved, kernel, by_torch)
        if choice is not None:
            _choices[convolved] = choice
    return choice is not None and choice.takes == "kernel"


def can_measure(x: Tensor) -> bool:
    """Whether kernels on x run here and now, and whoever runs them lets a clock choose.

    Not so while a CUDA graph is recorded or torch compiles; nor where results are to be the same in
    every process, as the other way rounds otherwise.
    """
    if x.device.type != "cuda" or type(x) not in (Tensor, torch.nn.Parameter):
        return False
    if torch.compiler.is_compiling() or torch.cuda.is_current_stream_capturing():
        return False
    return not (torch.backends.cudnn.deterministic or torch.are_deterministic_algorithms_enabled())


def _measured(convolved: Convolved, kernel: Convolve, by_torch: Convolve) -> Choice | None:
    """What either takes; None where there is not the memory to find out."""
    try:
        with torch.cuda.device(convolved.device):
            seconds = [_seconds(kernel), _seconds(by_torch)]
    except torch.OutOfMemoryError:
        return None
    return Choice(convolved, *seconds)


def _seconds(convolve: Convolve) -> float:
    """The median by the GPU's own clock."""
    convolve()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(ROUNDS + 1)]
    events[0].record()
    for event in events[1:]:
        convolve()
        event.record()
    events[-1].synchronize()
    return 1e-3 * median(begin.elapsed_time(end) for begin, end in pairwise(events))
