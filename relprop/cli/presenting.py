"""How explanations are shown: tables in the terminal, rows of pictures in a figure."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from relprop.cli.classes import Classes
from relprop.cli.explaining import Attribution, Sums, View
from relprop.visualize import Panel, heat_map

WIDTH = 110
"""Columns where standard output is no terminal, so that no table is squeezed in a file."""

SUM_ROWS: dict[str, Callable[[Sums], float]] = {
    "": lambda sums: sums.explained,
    "= pixels": lambda sums: sums.pixels,
    "+ biases": lambda sums: sums.biases,
    "+ other": lambda sums: sums.other,
    "+ shortfall": lambda sums: sums.shortfall,
}


def results_console() -> Console:
    """Standard output."""
    console = Console(highlight=False)
    return console if console.is_terminal else Console(highlight=False, width=WIDTH)


def print_answer(console: Console, name: str, view: View, classes: Classes, top: int) -> None:
    """The picture's name, and the `top` classes that the model gives it."""
    console.print(f"\n[bold]{escape(name)}[/bold]")
    probabilities, numbers = view.probabilities().topk(min(top, len(view.outputs)))
    for probability, number in zip(probabilities.tolist(), numbers.tolist(), strict=True):
        console.print(
            f"  {probability:7.1%}  {escape(classes.label(number))} [dim]({number})[/dim]"
        )


def print_sums(console: Console, label: str, attributions: list[Attribution]) -> None:
    """A column a method, to be read as a sum: the explained quantity, and where it went."""
    console.print(f"\nExplaining {escape(label)}")
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("")
    for attribution in attributions:
        table.add_column(attribution.method, justify="right")
    table.add_row("explained", *(attribution.quantity for attribution in attributions))
    for row, amount in SUM_ROWS.items():
        table.add_row(row, *(_number(amount(attribution.sums)) for attribution in attributions))
    table.add_row("seconds", *(f"{attribution.seconds:.2f}" for attribution in attributions))
    console.print(table)


def _number(value: float) -> str:
    """Four decimals; what is too small or too large for that keeps its magnitude."""
    plain = value == 0 or 1e-4 <= abs(value) < 1e6
    return f"{value + 0.0:.4f}" if plain else f"{value:.1e}"


def panels(name: str, view: View, attributions: list[Attribution]) -> list[Panel]:
    """The picture as the model sees it, and beside it one map of relevance a method."""
    crop = np.asarray(view.crop, dtype=np.uint8)
    shown = [Panel(crop, name, "what the model sees")]
    for attribution in attributions:
        shown.append(
            Panel(heat_map(attribution.relevance), attribution.method, _caption(attribution))
        )
    return shown


def _caption(attribution: Attribution) -> str:
    sums = attribution.sums
    rest = {"biases": sums.biases, "other": sums.other + sums.shortfall}
    terms = [f"{sums.pixels:.3f} pixels"]
    terms += [f"{value:.3f} {part}" for part, value in rest.items() if abs(value) >= 0.0005]
    parts = " + ".join(terms).replace("+ -", "- ")
    return f"{attribution.quantity} = {sums.explained:.3f} = {parts}"


def heading(view: View, classes: Classes, target: int) -> str:
    """The explained class and its probability."""
    return f"{classes.label(target)}, {float(view.probabilities()[target]):.1%}"
