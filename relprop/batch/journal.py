"""The journal of a run: what is on disk for good, batch by batch, so that a run can be continued.

A line is written once its batch's relevance is. The first line says what made the output. A last
line that is cut short, as a killed process leaves it, counts for nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from relprop.batch.items import Row, Shape
from relprop.storage.lines import Lines

Made = Mapping[str, Any]
"""What made an output, as plain strings, numbers and mappings."""


@dataclass
class Recorded:
    """What a journal holds: what made the output, rows by their items, and sizes of batches.

    `length` is how many bytes of the file are whole lines.
    """

    made: Made
    rows: dict[int, Row] = field(default_factory=dict)
    sizes: dict[Shape, int] = field(default_factory=dict)
    length: int = 0

    def enter(self, entry: Mapping[str, Any], length: int) -> None:
        """Add what a line of so many bytes holds; of an item tried twice, the last counts."""
        for fields in entry.get("rows", ()):
            row = Row(**{**fields, "shape": tuple(fields["shape"])})
            self.rows[row.index] = row
            if not row.error:
                self.sizes[row.shape] = entry["size"]
        self.length += length


class Journal(Lines):
    """A journal, which this process alone writes."""

    def begin(self, made: Made) -> None:
        """Write the first line, in place of whatever is there."""
        self.cut(0)
        self.append({"made": made})

    def read(self) -> Recorded | None:
        """What the whole lines hold, or None if not even the first is one."""
        recorded: Recorded | None = None
        for entry, length in self.entries():
            if recorded is None:
                recorded = Recorded(entry.get("made", {}))
            recorded.enter(entry, length)
        return recorded

    def add(self, rows: Sequence[Row], size: int) -> None:
        """Record what became of a batch, whose shape goes by so many together."""
        self.append({"size": size, "rows": [asdict(row) for row in rows]})
