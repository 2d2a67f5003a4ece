"""DeepLIFT by several packages, on networks that show where its sums hold: a Markdown page."""

from __future__ import annotations

from benchmarks.peers.deeplift.networks import NAMES, subject
from benchmarks.peers.deeplift.packages import OURS, PACKAGES, ask
from benchmarks.peers.table import Footnotes, cell, table, versions

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
`python -m benchmarks.peers deeplift` prints it with the packages that are there. This time they
were {versions}.
"""


def row(name: str, notes: Footnotes) -> list[str]:
    """A network's cells, its name first."""
    found = subject(name)
    if found is None:
        return [name, *["not installed" for _ in PACKAGES]]
    outcomes = [ask(package, found) for package in PACKAGES]
    ours = outcomes[PACKAGES.index(OURS)]
    cells = []
    for package, one in zip(PACKAGES, outcomes, strict=True):
        alone = package.package == OURS.package or not one.error <= found.tolerance
        cells.append(cell(one, None if alone else ours, found.tolerance, notes))
    return [name, *cells]


def page() -> str:
    """The whole page, its footnotes last."""
    notes = Footnotes()
    header = ["network", *(package.title for package in PACKAGES)]
    lines = table(header, [row(name, notes) for name in NAMES])
    named = versions(package.package for package in PACKAGES)
    return "\n".join([INTRODUCTION.format(versions=named), *lines, "", *notes.lines()]) + "\n"
