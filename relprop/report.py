"""Where the relevance of one explanation went, node by node."""

from __future__ import annotations

from dataclasses import dataclass

from relprop.rules.lrp.relevance import Account


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

    def __str__(self) -> str:
        columns = ("received", "passed", "bias", "stabilizer", "dropped")
        rows: list[tuple[str, ...]] = [("node", "module", "rule", *columns)]
        for account in reversed(self.accounts):
            figures = [f"{getattr(account, column):.6g}" for column in columns]
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
