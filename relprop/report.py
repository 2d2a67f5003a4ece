"""Where the relevance of one explanation went, node by node."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from relprop.rules.lrp.relevance import Account

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TOTALS = ("score", "relevance", "other", "bias", "stabilizer", "dropped", "shortfall")
FIGURES = ("received", "passed", "bias", "stabilizer", "dropped")
"""What the books hold of each node."""


@dataclass(frozen=True)
class Report:
    """The books of one explanation, summed over the batch, in units of the model's output.

    Attributes:
        score: what was to be explained.
        relevance: what reached the explained inputs.
        other: what reached further arguments of the model.
        accounts: for each node what it received, passed on, and did not.
    """

    score: float
    relevance: float
    other: float
    accounts: list[Account]

    @property
    def bias(self) -> float:
        """What biases took."""
        return sum(account.bias for account in self.accounts)

    @property
    def stabilizer(self) -> float:
        """What the stabilizer of divisions took."""
        return sum(account.stabilizer for account in self.accounts)

    @property
    def dropped(self) -> float:
        """What had no input to go to, or went to arguments that are not explained."""
        return sum(account.dropped for account in self.accounts) + self.other

    @property
    def shortfall(self) -> float:
        """Score minus all of the above: rounding error."""
        return self.score - self.relevance - self.bias - self.stabilizer - self.dropped

    def as_dict(self) -> dict[str, Any]:
        """The books as plain strings and numbers, which `json.dumps` takes.

        Returns:
            `score`, `relevance`, `other`, `bias`, `stabilizer`, `dropped` (which holds `other`) and
            `shortfall`; and under `nodes`, from the output to the inputs, for each node its
            `module`, `node`, `rule`, and what it `received`, `passed`, and lost to `bias`,
            `stabilizer`, or `dropped`. So `score = relevance + bias + stabilizer + dropped +
            shortfall`.
        """
        totals: dict[str, Any] = {name: float(getattr(self, name)) for name in TOTALS}
        nodes = [
            {
                "module": account.node.where.module,
                "node": account.node.label,
                "rule": account.rule,
                **{name: float(getattr(account, name)) for name in FIGURES},
            }
            for account in reversed(self.accounts)
        ]
        return {**totals, "nodes": nodes}

    def plot(self, medium: str = "screen") -> Figure:
        """A bar a node, from the output to the inputs: passed on, taken by biases, and so on.

        Args:
            medium: `"screen"` or `"print"`: what the resolution is for.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        # Explaining takes no matplotlib; only drawing does.
        from relprop.visualize import draw_books

        return draw_books(self.as_dict(), medium)

    def __str__(self) -> str:
        rows: list[tuple[str, ...]] = [("node", "module", "rule", *FIGURES)]
        for account in reversed(self.accounts):
            figures = [f"{getattr(account, column):.6g}" for column in FIGURES]
            node = account.node
            rows.append((node.label, node.where.module, account.rule, *figures))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if i < 3 else cell.rjust(width)
                for i, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        total = (
            f"score {self.score:.6g} = relevance {self.relevance:.6g} + bias {self.bias:.6g} + "
            f"stabilizer {self.stabilizer:.6g} + dropped {self.dropped:.6g} + "
            f"shortfall {self.shortfall:.3g}"
        )
        return "\n".join([*lines, total])
