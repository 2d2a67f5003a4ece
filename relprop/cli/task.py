"""One command at work: picture after picture, results on standard output, errors on the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relprop.cli.classes import UnknownClassError
from relprop.cli.endings import MODEL_LIMITS
from relprop.cli.explaining import METHODS, Attribution, Plan, Subject, View
from relprop.cli.images import read_picture
from relprop.cli.loading import ModelError
from relprop.cli.pages import page_of
from relprop.cli.presenting import heading, panels, print_answer, print_sums, results_console
from relprop.cli.progress import ProgressLine
from relprop.errors import RelpropError
from relprop.visualize import figure, save_png
from relprop.visualize.page import save_page

FATAL = (ModelError, UnknownClassError, *MODEL_LIMITS)
"""Faults that no other picture would be spared: they end the command."""


class OutputError(RelpropError, OSError):
    """A picture cannot be written."""


class Task:
    """Explain pictures of one subject by one plan, into one folder.

    Args:
        subject: the model and what it expects.
        model: what the user calls the model.
        plan: the methods.
        target: the class to explain: "auto" for the likeliest, a number, or a name.
        top: how many of the likeliest classes to list.
        output: the folder for the pictures, made if need be.
        html: whether to write a page beside each picture, with what the plan's layers show.
    """

    def __init__(
        self,
        subject: Subject,
        model: str,
        plan: Plan,
        *,
        target: str,
        top: int,
        output: Path,
        html: bool = False,
    ) -> None:
        self._subject = subject
        self._model = model
        self._methods = [METHODS[name](subject, plan) for name in plan.methods]
        self._target = target
        self._top = top
        self._output = output
        self._html = html
        self._console = results_console()
        self._progress = ProgressLine()

    def explain_all(self, pictures: Sequence[Path]) -> int:
        """How many pictures failed, each with a sentence on standard error; the rest are explained.

        Raises:
            RelpropError: one of `FATAL`, or the output folder cannot be made.
        """
        try:
            self._output.mkdir(parents=True, exist_ok=True)
        except OSError as fault:
            raise OutputError(
                f"cannot make the folder {self._output} ({fault.strerror})"
            ) from fault
        failed = 0
        with self._progress.shown(len(pictures) * len(self._methods)):
            for index, path in enumerate(pictures):
                try:
                    self._explain(
                        path, self._destination(pictures, index), index * len(self._methods)
                    )
                except FATAL:
                    raise
                except RelpropError as fault:
                    self._progress.say_error(str(fault))
                    failed += 1
        return failed

    def _explain(self, path: Path, destination: Path, done: int) -> None:
        if destination.exists() and path.exists() and destination.samefile(path):
            raise OutputError(
                f"{path}: would be overwritten by its own explanation; choose another --output"
            )
        classes = self._subject.classes
        view = self._subject.view(read_picture(path))
        automatic = self._target == "auto"
        target = (
            int(view.outputs.argmax())
            if automatic
            else classes.find(self._target, len(view.outputs))
        )
        attributions = []
        for number, method in enumerate(self._methods):
            self._progress.at(done + number, path.name)
            attributions.append(method(view.inputs, target))
        paths = self._write(path.name, view, target, attributions, destination)
        with self._progress.aside():
            print_answer(self._console, path.name, view, classes, self._top)
            print_sums(self._console, f"{classes.label(target)} ({target})", attributions)
            for written in paths:
                self._console.print(f"[dim]wrote[/dim] {written}", soft_wrap=True)

    def _write(
        self,
        name: str,
        view: View,
        target: int,
        attributions: list[Attribution],
        destination: Path,
    ) -> list[Path]:
        """The picture with the maps, and the page beside it if one is wanted."""
        classes, path = self._subject.classes, destination
        try:
            row = heading(view, classes, target), panels(name, view, attributions)
            save_png(figure([row]), path)
            if not self._html:
                return [path]
            path = destination.with_suffix(".html")
            save_page(
                page_of(name, self._model, view, classes, target, self._top, attributions), path
            )
        except OSError as fault:
            raise OutputError(f"cannot write {path} ({fault.strerror or fault})") from fault
        return [destination, path]

    def _destination(self, pictures: Sequence[Path], index: int) -> Path:
        """`<stem>-explained.png`, numbered where several pictures share a stem."""
        stem = pictures[index].stem
        earlier = sum(picture.stem == stem for picture in pictures[:index])
        return self._output / f"{stem}-explained{f'-{earlier + 1}' if earlier else ''}.png"
