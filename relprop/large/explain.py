"""Explanations of images that are in files, into files, within a budget of memory."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from relprop.attribution.arguments import Target, as_bytes, first_parameter, seeds
from relprop.attribution.attributor import corner_size
from relprop.attribution.deeplift import DeepLift
from relprop.attribution.tiled import Tiled
from relprop.attribution.tiling.bodies import Rules, Windowed
from relprop.attribution.tiling.chain import Chain, plan_chain
from relprop.attribution.tiling.planner import Planner
from relprop.baselines import BASELINES
from relprop.errors import CaptureError, InvalidInputError
from relprop.large.describing import VERSIONS, describe, rules_digest, weights_digest
from relprop.large.engine import Engine
from relprop.large.explained import Choice, Explained, Question
from relprop.large.meter import Meter, Watch
from relprop.large.record import FINISHED, MADE, Record, open_record
from relprop.large.sinks import Layout, sink_for
from relprop.large.sources import Source, open_image
from relprop.large.windows import ConstantWindows, ImageWindows, Preprocess, constant

STORED = (torch.float32, torch.float64)
"""What files hold; relevance of other types becomes the first."""
MULTIPLE = 16
"""What a chunk's side is one of, as TIFF has it."""
Baseline = float | Sequence[float] | Tensor | str | Path | Source | None


@dataclass(frozen=True)
class LargeExplanation(Explained):
    """What was explained, where it went, and where that is written.

    Attributes:
        path: the output.
        chain: how it was made; `print` it.
    """

    path: Path = Path()
    chain: Chain | None = None


def explain_large(
    method: Tiled,
    image: Any,
    output: str | Path,
    target: Target | Choice = None,
    *,
    baselines: Baseline = None,
    preprocess: Preprocess | None = None,
    axes: str | None = None,
    level: int = 0,
    memory_budget: int | str = "2GiB",
    chunk: int = 512,
    resume: bool = False,
    watch: Watch | None = None,
) -> LargeExplanation:
    """Explain an image that need not fit into memory: relevance goes to a file, tile by tile.

    It is that of `method.attribute` for the whole, up to rounding. What is unfinished lives in a
    folder beside the output, `OUTPUT.unfinished`, which takes a few times the space of the output,
    and is removed at the end; the output is there when it is whole.

    Args:
        method: `LRP`, `DeepTaylor`, `DeepLift`, `Gradient` or `InputXGradient`, of a model of one
            image.
        image: the path of a .npy file, a Zarr array or OME-Zarr group, a TIFF, or a slide; an array
            such as a `numpy.memmap` or a Zarr array; or anything with `shape` (C, H, W), `dtype`,
            `name` and `window(box)`.
        output: ends in .zarr for OME-Zarr with a pyramid, .tif or .ome.tif for a tiled BigTIFF, or
            .npy. Its shape is (C, H, W), of the model's input.
        target: the output to explain, as for `attribute`; or a function that chooses a class by the
            outputs, shape (K,).
        baselines: for `DeepLift`: None for zeros, a number, one for each channel, or an image like
            `image`, of the same size. Numbers are the model's inputs; images are preprocessed.
        preprocess: makes the model's input of the pixels of a window, shape (C, h, w), pixel by
            pixel, such as `Normalise()`; None if they are that already.
        axes: a letter for each of the image's dimensions, such as `"YXC"`; None for what the file
            says, or to guess.
        level: of the pyramid that an OME-Zarr group, a TIFF or a slide has.
        memory_budget: bytes, a number or such as `"2GiB"`, beside the model, what is derived of its
            weights, and a few chunks of the output.
        chunk: side of the output's chunks, or tiles, in pixels; a multiple of 16.
        resume: continue what was interrupted, if there is something; all else must be as it was.
        watch: told what share is done, from 0 to 1, after every tile.

    Returns:
        The score, the sum of the relevance, and where it is.

    Raises:
        InvalidInputError, InvalidTypeError: an argument is none of the above, the image cannot be
            read, the budget is too small, or something is in the way.
        MissingPackageError: what reads or writes a file is not installed.
        StorageError: something cannot be written.
        CaptureError: the model cannot be captured. UnsupportedOperatorError: it has an operator
            without a rule. NumericalError: relevance overflowed.
    """
    output = Path(output)
    kind = sink_for(output)
    if chunk < 1 or chunk % MULTIPLE:
        raise InvalidInputError(f"chunk must be a multiple of {MULTIPLE}; got {chunk}")
    windows = _windows(method, open_image(image, axes, level), preprocess)
    with torch.no_grad():
        task = _Task.of(method, windows, target, baselines, as_bytes(memory_budget))
        _check_target(task.planner, target)
        with open_record(output, {**task.made(), "chunk": chunk}, resume) as record:
            if FINISHED not in record.done:
                layout = Layout(task.shape, task.stored, chunk)
                sink = kind(record.folder / f"output{output.suffix}", layout)
                found = task.engine(record, watch).explain(sink, layout)
                sink.finish({**record.done[MADE], **vars(found)})
                record.add(FINISHED, vars(found))
            found = Explained(**record.done[FINISHED])
            _put_in_place(record.folder / f"output{output.suffix}", output)
        shutil.rmtree(record.folder)
    return LargeExplanation(**vars(found), path=output, chain=task.chain)


def large_tiling(
    method: Tiled,
    image: Any,
    *,
    baselines: Baseline = None,
    preprocess: Preprocess | None = None,
    axes: str | None = None,
    level: int = 0,
    memory_budget: int | str = "2GiB",
) -> Chain:
    """How `explain_large` makes an explanation with such a budget: a plan to print.

    Takes its arguments as `explain_large` does, and raises what it raises.
    """
    windows = _windows(method, open_image(image, axes, level), preprocess)
    with torch.no_grad():
        return _Task.of(method, windows, None, baselines, as_bytes(memory_budget)).chain


def _windows(method: Tiled, source: Source, preprocess: Preprocess | None) -> ImageWindows:
    parameter = first_parameter(method.model)
    dtype = torch.float32 if parameter is None else parameter.dtype
    device = torch.device("cpu") if parameter is None else parameter.device
    return ImageWindows(source, preprocess, dtype, device)


def _put_in_place(made: Path, output: Path) -> None:
    """Give an output its name, unless a process that was killed right after did so."""
    if made.exists():
        made.rename(output)


@dataclass(frozen=True)
class _Task:
    """All that is settled before anything is computed."""

    question: Question
    planner: Planner
    chain: Chain
    windows: ImageWindows
    images: tuple[Windowed, ...]
    baseline: Any
    shape: tuple[int, int, int]

    @classmethod
    def of(
        cls,
        method: Tiled,
        windows: ImageWindows,
        target: Target | Choice,
        baselines: Baseline,
        budget: int,
    ) -> _Task:
        question = Question(method, target)
        _ = question.share  # refuses other methods
        corner = _corner(windows)
        shape = (corner.shape[1], *windows.source.shape[1:])
        with suppress(CaptureError):  # the model may take images of this size alone
            method.prepare(corner)
        example = corner.new_zeros(()).expand(1, *shape)
        planner, _ = method.planner((example,), 1, method.SWEEPS)
        _check_model(planner)
        images, described = _with_baseline(method, windows, baselines, corner)
        chain = plan_chain(planner, budget)
        return cls(question, planner, chain, windows, images, described, shape)

    @property
    def stored(self) -> torch.dtype:
        """The type of the output."""
        return self.windows.dtype if self.windows.dtype in STORED else STORED[0]

    def engine(self, record: Record, watch: Watch | None) -> Engine:
        """What makes the explanation."""
        planner, images = self.planner, self.images
        return Engine(
            self.question,
            self.chain,
            Rules(planner.sweep, planner.method, planner.constants),
            planner.sizes,
            images,
            record,
            Meter(self.chain, len(images), watch),
            self.windows.device,
        )

    def made(self) -> dict[str, Any]:
        """What decides about the result, to the last bit."""
        method, planner = self.question.method, self.planner
        return {
            "method": type(method).__name__,
            "rules": rules_digest(planner.sweep),
            "weights": weights_digest(method.model),
            "image": self.windows.source.name,
            "shape": list(self.shape),
            "preprocess": describe(self.windows.preprocess),
            "baseline": self.baseline,
            "tiles": [[stage.cut.body.cut, len(stage.boxes)] for stage in self.chain.stages],
            "device": str(self.windows.device),
            "versions": VERSIONS,
        }


def _corner(windows: ImageWindows) -> Tensor:
    """The first pixels of the image, as the model's input: so many as show what the model does."""
    rows, columns = map(corner_size, windows.source.shape[1:])
    return windows.window(((0, rows), (0, columns)))


def _check_model(planner: Planner) -> None:
    """Refuse models of several inputs."""
    count = len(planner.sweep.graph.inputs)
    if count != 1:
        raise InvalidInputError(
            f"the model must take one image and nothing else; got one that takes {count} inputs"
        )


def _check_target(planner: Planner, target: Target | Choice) -> None:
    """Refuse a target that there is not, before anything is computed."""
    if not callable(target):
        shape = planner.sizes.shapes[planner.sweep.graph.output]
        _, many = seeds(target, torch.zeros(()).expand(shape))
        if many:
            raise InvalidInputError(f"target must be one and no list of lists; got {target!r}")


def _with_baseline(
    method: Tiled, windows: ImageWindows, baselines: Baseline, corner: Tensor
) -> tuple[tuple[Windowed, ...], Any]:
    """The image, with the baseline for methods that have one; and what that is, in words."""
    if not isinstance(method, DeepLift):
        if baselines is not None:
            raise InvalidInputError(f"{type(method).__name__} takes no baselines")
        return (windows,), None
    values = _pixel_of(baselines)
    if values is not None:
        of_channels = constant(values, corner.shape[1], corner)
        return (windows, ConstantWindows(of_channels)), of_channels.flatten().tolist()
    if callable(baselines) or (isinstance(baselines, str) and baselines in BASELINES):
        raise InvalidInputError(
            "baselines must be a number, one for each channel, or an image in a file, of which a "
            f"window can be read; got {baselines!r}"
        )
    source = open_image(baselines)
    if source.shape != windows.source.shape:
        raise InvalidInputError(
            f"the baseline must have the image's shape, {windows.source.shape}; got {source.shape}"
        )
    other = ImageWindows(source, windows.preprocess, windows.dtype, windows.device)
    return (windows, other), source.name


def _pixel_of(baselines: Baseline) -> float | Sequence[float] | Tensor | None:
    """The values of a pixel of a baseline that is the same everywhere; None for an image."""
    if baselines is None or (isinstance(baselines, str) and baselines == "blank"):
        return 0.0
    if isinstance(baselines, (int, float, Tensor, list, tuple)):
        return baselines
    return None
