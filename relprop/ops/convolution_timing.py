"""Which of several ways of convolving takes least time on this machine: measured once a shape.

Torch's own convolutions, one by one, give way to another only where that was measured to be faster,
and to give the same. Where nothing can be measured, what was measured before holds, and else they
convolve.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

import torch
from torch import Tensor

#: What decides: the median of so many rounds, after one that is not counted.
ROUNDS = 5
#: Times of the first way that another may take to be chosen: so that noise does not choose.
MOST = 0.95
#: Multiplications from which on measuring is worth its own time: some microseconds' on a GPU.
LEAST_WORK = 1 << 29
#: By what part of the largest number results may differ: more than bfloat16 rounds, no mistake.
ROUNDING = 0.05

Convolve = Callable[[], Tensor | tuple[Tensor, ...]]


@dataclass(frozen=True)
class Convolved:
    """What is convolved, and how: all that the time depends on.

    Attributes:
        form: which products, such as "W+ x, W- x".
        x: the shape of what is convolved, or sent back.
        weight: the shape of the filters.
        stride, padding, dilation: the convolution's.
        result: rows and columns of the result.
        channels_last: whether x has its channels side by side.
        dtype: of all tensors. tf32: whether float32 may be rounded to it.
        device: the GPU.
    """

    form: str
    x: tuple[int, ...]
    weight: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    dilation: tuple[int, ...]
    result: tuple[int, ...]
    channels_last: bool
    dtype: torch.dtype
    tf32: bool
    device: torch.device


@dataclass(frozen=True)
class Choice:
    """What was measured.

    Attributes:
        convolved: what the choice is for.
        seconds: that each way takes, by its name; the first is torch's own. A way that gave
            something else than torch's is not among them.
    """

    convolved: Convolved
    seconds: tuple[tuple[str, float], ...]

    @property
    def takes(self) -> str:
        """The way that is taken."""
        (first, most), *others = self.seconds
        way, least = min(others, key=lambda other: other[1], default=(first, most))
        return way if least < MOST * most else first


@dataclass(frozen=True)
class ConvolutionChoices:
    """What was measured so far in this process; prints as a table.

    Attributes:
        rows: one for every shape, in the order in which they were measured.
    """

    rows: tuple[Choice, ...]

    def __str__(self) -> str:
        """One line for every shape, with the milliseconds that each way takes."""
        ways = tuple(dict.fromkeys(way for row in self.rows for way, _ in row.seconds))
        heading = ("products", "images", "filters", "stride", "dtype", *ways, "takes")
        table = [heading, *(_cells(row, ways) for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*table, strict=True)]
        lines = (zip(line, widths, strict=True) for line in table)
        return "\n".join("  ".join(c.ljust(w) for c, w in line).rstrip() for line in lines)


def _cells(choice: Choice, ways: tuple[str, ...]) -> tuple[str, ...]:
    what, seconds = choice.convolved, dict(choice.seconds)
    sizes = ("x".join(map(str, sizes)) for sizes in (what.x, what.weight, what.stride))
    times = (f"{1e3 * seconds[way]:.3f}" if way in seconds else "-" for way in ways)
    return (what.form, *sizes, str(what.dtype).removeprefix("torch."), *times, choice.takes)


_choices: dict[Convolved, Choice] = {}


def convolution_choices() -> ConvolutionChoices:
    """Say for every convolution measured so far which way is taken, and what each took.

    Returns:
        A table; ``print(relprop.ops.convolution_choices())`` shows it.
    """
    return ConvolutionChoices(tuple(_choices.values()))


def forget_choices() -> None:
    """Let every choice be measured again, as after a change of cuDNN's switches."""
    _choices.clear()


def fastest(x: Tensor, convolved: Convolved, ways: Mapping[str, Convolve]) -> str:
    """The way that was measured to take least time; if need be, it is measured now.

    Args:
        x: what is convolved.
        convolved: what the choice is kept for.
        ways: by name; the first is the one to take where nothing tells.

    Returns:
        A way's name: the first where nothing was measured, and nothing can be.
    """
    choice = _choices.get(convolved)
    if choice is None and len(ways) > 1 and can_measure(x):
        choice = _measured(convolved, ways)
        if choice is not None:
            _choices[convolved] = choice
    return next(iter(ways)) if choice is None else choice.takes


def is_worth_measuring(x: Sequence[int], weight: Sequence[int], result: Sequence[int]) -> bool:
    """Whether a convolution has so much to do that it matters how it is done.

    Args:
        x: the shape of what is convolved, or sent back.
        weight: the shape of the filters.
        result: rows and columns of the result; strides leave the places of the smaller image.
    """
    places = min(x[2] * x[3], result[0] * result[1])
    return x[0] * places * math.prod(weight) >= LEAST_WORK


def can_measure(x: Tensor) -> bool:
    """Whether kernels on x run here and now.

    Not so while a CUDA graph is recorded, or torch compiles.
    """
    if x.device.type != "cuda" or type(x) not in (Tensor, torch.nn.Parameter):
        return False
    return not torch.compiler.is_compiling() and not torch.cuda.is_current_stream_capturing()


def _measured(convolved: Convolved, ways: Mapping[str, Convolve]) -> Choice | None:
    """What each takes; None where there is not the memory to find out."""
    try:
        with torch.cuda.device(convolved.device):
            first = next(iter(ways))
            expected = ways[first]()
            right = [way for way in ways if way == first or agrees(ways[way](), expected)]
            return Choice(convolved, tuple((way, _seconds(ways[way])) for way in right))
    except torch.OutOfMemoryError:
        return None


def agrees(found: Tensor | tuple[Tensor, ...], expected: Tensor | tuple[Tensor, ...]) -> bool:
    """Whether two results are the same but for rounding; what is not finite agrees with nothing."""
    both = [(one,) if isinstance(one, Tensor) else one for one in (found, expected)]
    return all(
        bool((a - b).abs().max() <= ROUNDING * b.abs().max()) for a, b in zip(*both, strict=True)
    )


def _seconds(convolve: Convolve) -> float:
    """The median by the GPU's own clock."""
    convolve()
    events = [torch.cuda.Event(enable_timing=True) for _ in range(ROUNDS + 1)]
    events[0].record()
    for event in events[1:]:
        convolve()
        event.record()
    events[-1].synchronize()
    milliseconds: list[float] = [begin.elapsed_time(end) for begin, end in pairwise(events)]
    return 1e-3 * median(milliseconds)
