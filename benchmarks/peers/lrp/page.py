"""LRP by several packages, on networks that show where its sums hold: a Markdown page."""

from __future__ import annotations

from benchmarks.peers.lrp.networks import NAMES, Subject, subject
from benchmarks.peers.lrp.packages import OURS, PACKAGES, RULES, TOLERANCE, Rules, ask
from benchmarks.peers.table import Footnotes, cell, table, versions

INTRODUCTION = """\
# LRP by several packages

The rows are networks in float64, small ones with random weights, two of torchvision's with random
weights and a trained one; the columns are packages that compute layer-wise relevance propagation;
each table is about a rule, and leaves out packages that do not have it. Each cell gives how far the
sum of relevance is from the score, relative to it, in **bold** where it is more than 1e-4:
stabilizers, 1e-9 in every package, take less. Parentheses give how far relevance is from that of
relprop's first column: the largest difference, relative to the largest relevance.

All explain the same model as it is, with the same rule put on every layer with weights. Biases are
left out of the denominators, so that relevance should sum to the score. lxt, autolrp, and
iNNvestigate's epsilon rule cannot leave them out: their sums lack what biases took. Relevance is
also lost, by the rules' own formulas, where a neuron has no contributions of the sign that a rule
asks for, or no input but its bias; where other packages have the same bold number and rounding or 0
in parentheses, it is the formula's. relprop's second column hands out such shares, and those of the
biases, to the layer's inputs in equal parts (`bias="redistribute"`), so its maps are others.

Some definitions differ: captum's z+ and gamma are for inputs >= 0, and its gamma for outputs >= 0;
for gamma, relprop takes the sign of z without its bias, zennit with it; captum, zennit, lxt and
autolrp pass relevance unchanged through a batch norm that is not folded into a convolution, which
keeps sums; autolrp shares out average pools in equal parts, and sums by the absolute values of
their branches. captum takes rules module by module, as set here, and its epsilon rule is its gamma
rule of gamma 0, which can leave out biases. zennit's second column uses its `ResNetCanonizer`,
which folds batch norms and rewrites the blocks of torchvision's ResNets. lxt is made for
transformers: its `EpsilonRule` is wrapped around every module with weights or pools by hand.
iNNvestigate needs TensorFlow; its maps of six networks, in float32, were kept. shap has no LRP: for
its DeepLIFT, see [DeepLIFT by several packages](deeplift-peers.md).

The epsilon rule with so small an epsilon divides by almost nothing again and again on the trained
network: relevance outgrows the digits of float64. relprop warns of that.

`make peers` installs the packages and writes this page anew. `python -m benchmarks.peers lrp`
prints it with the packages that are there. This time they were
{versions}.
"""


def row(rules: Rules, name: str, found: Subject | None, notes: Footnotes) -> list[str]:
    """A network's cells, its name first."""
    packages = [package for package in PACKAGES if package.has(rules)]
    if found is None:
        return [name, *["not installed" for _ in packages]]
    outcomes = {package: ask(package, rules, found) for package in packages}
    cells = []
    for package, one in outcomes.items():
        ours = None if package.package == OURS.package else outcomes[OURS]
        cells.append(cell(one, ours, TOLERANCE, notes))
    return [name, *cells]


def page() -> str:
    """The whole page, its footnotes last."""
    notes = Footnotes()
    rows: dict[Rules, list[list[str]]] = {rules: [] for rules in RULES}
    for name in NAMES:
        found = subject(name)
        for rules in RULES:
            rows[rules].append(row(rules, name, found, notes))
    lines = []
    for rules in RULES:
        header = ["network", *(package.title for package in PACKAGES if package.has(rules))]
        lines += [f"## {rules.title}", "", *table(header, rows[rules]), ""]
    named = versions(package.package for package in PACKAGES if package.package != "benchmarks")
    return "\n".join([INTRODUCTION.format(versions=named), *lines, *notes.lines()]) + "\n"
