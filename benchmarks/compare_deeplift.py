"""DeepLIFT by several packages, on networks that show where their sums hold: a Markdown table.

`make peers` installs the packages and writes docs/deeplift-peers.md; without them, the table says
"not installed" in their places.
"""

from __future__ import annotations

import argparse
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from deeplift_networks import NAMES, subject
from deeplift_packages import OURS, PACKAGES, Outcome, deviation, outcome

INTRODUCTION = """\
# DeepLIFT by several packages

The rows are networks, small ones with random weights in float64 and a trained one in float32; the
columns are packages that compute DeepLIFT with the Rescale rule. Contributions must sum to the
difference f(x) - f(x0) between the outputs for an input and for its baseline. Each cell gives the
error of the sum, relative to that difference, in **bold** where it is more than rounding. Where the
sum is right, parentheses give how far the contributions are from those of relprop's first column:
the largest difference, relative to the largest contribution. Two packages may both be exact and yet
share out differently. All explain the same model as it is, without rules added by hand. shap's own
check of the sum, which raises an error, is off, so that there is a sum to see. tangermeme is made
for one-hot sequences, so all small networks read these.

`make peers` installs the packages and writes this page anew.
`python benchmarks/compare_deeplift.py` prints it with the packages that are there. This time they
were {versions}.
"""


class Footnotes:
    """Messages too long for a table, each with its number."""

    def __init__(self) -> None:
        self.numbers: dict[str, int] = {}

    def mark(self, text: str) -> str:
        return f"[^{self.numbers.setdefault(text, len(self.numbers) + 1)}]"

    def lines(self) -> list[str]:
        return [f"[^{number}]: `{text}`" for text, number in self.numbers.items()]


def amount(error: float) -> str:
    """Per cent where that is a number to read, else its order of magnitude."""
    if error == 0:
        return "0"
    if error < 0.001:
        return f"{error:.0e}"
    return f"{100 * error:,.0f} %" if error >= 0.1 else f"{100 * error:.1f} %"


def cell(one: Outcome, ours: Outcome | None, tolerance: float, notes: Footnotes) -> str:
    """What the table says of a package on a network; `ours` is what to compare with, if any."""
    if one.absence:
        return one.absence
    if one.contributions is None:
        return f"**{one.failure.split(':')[0]}** {notes.mark(one.failure)}"
    if not one.error <= tolerance:
        return f"**{amount(one.error)}**"
    if ours is None or ours.contributions is None:
        return amount(one.error)
    return f"{amount(one.error)} ({amount(deviation(one.contributions, ours.contributions))})"


def row(name: str, notes: Footnotes) -> list[str]:
    """A network's cells, its name first."""
    found = subject(name)
    if found is None:
        return [name, *["not installed" for _ in PACKAGES]]
    outcomes = [outcome(package, found) for package in PACKAGES]
    ours = outcomes[PACKAGES.index(OURS)]
    peers = [None if package.package == OURS.package else ours for package in PACKAGES]
    pairs = zip(outcomes, peers, strict=True)
    return [name, *(cell(one, with_, found.tolerance, notes) for one, with_ in pairs)]


def versions() -> str:
    """Of all packages that take part."""
    found = [f"Python {platform.python_version()}"]
    for name in dict.fromkeys(["torch", *(package.package for package in PACKAGES)]):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    return f"{', '.join(found[:-1])} and {found[-1]}"


def table() -> list[str]:
    """The lines of the table and of its footnotes."""
    notes = Footnotes()
    header = ["network", *(package.title for package in PACKAGES)]
    rows = [header, ["---"] * len(header), *(row(name, notes) for name in NAMES)]
    return [*(f"| {' | '.join(cells)} |" for cells in rows), "", *notes.lines()]


def main() -> None:
    """Print the page, and write it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output", type=Path, help="a Markdown file to write, too")
    output = parser.parse_args().output
    page = "\n".join([INTRODUCTION.format(versions=versions()), *table()]) + "\n"
    if output is not None:
        output.write_text(page)
    print(page, end="")


if __name__ == "__main__":
    main()
