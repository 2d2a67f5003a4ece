"""A progress bar on standard error, for terminals only, that gives way to whatever is printed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.text import Text


class RateColumn(ProgressColumn):
    """How many steps are done a second, as of late."""

    def render(self, task: Task) -> Text:
        """The rate, once it is known."""
        return Text(f"{task.speed:.3g}/s" if task.speed else "", style="progress.data.speed")


RATE_AND_REST = (RateColumn, TimeRemainingColumn)
"""What is shown of many steps that are all alike: how fast they go, and how long the rest takes."""
TIME_AND_REST = (TimeElapsedColumn, TimeRemainingColumn)
"""What is shown of one that is long."""


class ProgressLine:
    """How many steps are done, which one is being worked at, and how long it has taken so far.

    `timing` is shown at the end of the line.
    """

    def __init__(self, timing: Sequence[type[ProgressColumn]] = (TimeElapsedColumn,)) -> None:
        self._console = Console(stderr=True, soft_wrap=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            *(column() for column in timing),
            console=self._console,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            disable=not self._console.is_terminal,
        )

    @contextmanager
    def shown(self, total: int, done: int = 0) -> Iterator[None]:
        """Show the bar while the work of `total` steps goes on, of which some are done before."""
        self._steps = self._bar.add_task("", total=total, completed=done)
        with self._bar:
            yield

    def at(self, step: float, description: str) -> None:
        """`step` steps are done, and `description` is being worked at."""
        self._bar.update(self._steps, completed=step, description=escape(description))

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while something else is printed."""
        self._bar.stop()
        yield
        self._bar.start()

    def say_error(self, sentence: str) -> None:
        """Print an error, as click prints its own."""
        with self.aside():
            self._console.print(f"Error: {sentence}", markup=False)
