"""A large image at work: one method, from a file into a file, with what came of it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.markup import escape
from torch import Tensor

from relprop import LRP, DeepLift
from relprop.cli.classes import Classes
from relprop.cli.explaining import Plan, Subject, make_deep_lift, make_lrp
from relprop.cli.presenting import results_console
from relprop.cli.progress import TIME_AND_REST, ProgressLine
from relprop.large import LargeExplanation, Normalise, Source, explain_large, open_image

PLANNED = ("composite", "bias", "rule", "max_pool", "unsupported")
"""What of the options is said of the method, and not of files."""


@dataclass(frozen=True)
class WantedClass:
    """Chooses the class to explain: "auto" for the likeliest, a number, or a name."""

    wanted: str
    classes: Classes = field(compare=False)

    def __call__(self, outputs: Tensor) -> int:
        """The class, by the outputs, shape (K,)."""
        if self.wanted == "auto":
            return int(outputs.argmax())
        return self.classes.find(self.wanted, len(outputs))


class SceneTask:
    """Explain one image.

    Args:
        subject: the model and what it expects.
        method: a name in `METHODS` of `explaining`.
        target: the class to explain: "auto" for the likeliest, a number, or a name.
        baseline: for DeepLIFT: "blank", a number, or a file.
        settings: what options say besides: of `Plan` and of `explain_large`.
    """

    def __init__(
        self,
        subject: Subject,
        method: str,
        target: str,
        baseline: str,
        settings: Mapping[str, Any],
    ) -> None:
        self._subject = subject
        plan = Plan(**{name: settings[name] for name in PLANNED})
        self._of_files = {name: v for name, v in settings.items() if name not in PLANNED}
        self._target = WantedClass(target, subject.classes)
        self._method: LRP | DeepLift = make_lrp(subject, plan)
        if method == "deep-lift":
            self._method = make_deep_lift(subject, plan)
            self._of_files["baselines"] = _number_or_file(baseline)

    def explain(self, image: Path, output: Path, resume: bool) -> None:
        """Write the relevance of an image, and say where the score went.

        Raises:
            RelpropError: something is missing, in the way, or cannot be written.
        """
        source = open_image(image, self._of_files.pop("axes"), self._of_files.pop("level"))
        progress = ProgressLine(TIME_AND_REST)
        with progress.shown(100):
            found = explain_large(
                self._method,
                source,
                output,
                self._target,
                preprocess=self._preprocess(source),
                resume=resume,
                watch=lambda share: progress.at(100 * share, image.name),
                **self._of_files,
            )
        self._print(found)

    def _preprocess(self, source: Source) -> Normalise | None:
        if source.dtype.kind == "f":
            return None
        expected = self._subject.preprocessing
        largest = 1 if source.dtype.kind == "b" else np.iinfo(source.dtype).max
        return Normalise(expected.mean, expected.std, float(largest))

    def _print(self, found: LargeExplanation) -> None:
        console = results_console()
        label = self._subject.classes.label(found.target)
        quantity = "f(x) - f(x0)" if isinstance(self._method, DeepLift) else "f(x)"
        console.print(f"Explaining {escape(label)} ({found.target})")
        console.print(
            f"{quantity} = {found.score:.4f} = {found.sum:.4f} pixels + {found.shortfall:.4f} other"
        )
        console.print(f"[dim]wrote[/dim] {escape(str(found.path))}", soft_wrap=True)


def _number_or_file(baseline: str) -> float | str:
    with contextlib.suppress(ValueError):
        return float(baseline)
    return baseline
