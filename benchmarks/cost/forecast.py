"""What larger inputs will take, by what smaller ones took."""

from __future__ import annotations

from dataclasses import dataclass, field

from benchmarks.cost.networks import Case

NOT_RUN = "not run: "
"""How a failure begins that is none: it was not tried."""


@dataclass
class Forecast:
    """Amounts in proportion to megapixels: seconds of a call, or bytes at its peak."""

    rates: dict[tuple[str, int, str], float] = field(default_factory=dict)

    def learn(self, case: Case, name: str, amount: float) -> None:
        """Take note of what a method took; the last case says most of the next, larger one."""
        self.rates[case.network, case.threads, name] = amount / case.megapixels

    def of(self, case: Case, name: str) -> float:
        """What it will take; 0 where nothing is known."""
        rate = self.rates.get((case.network, case.threads, name), 0.0)
        return rate * case.megapixels

    def all_of(self, case: Case) -> dict[str, float]:
        """What every method will take that is known on this network, with as many threads."""
        same = (case.network, case.threads)
        return {name: self.of(case, name) for *key, name in self.rates if tuple(key) == same}
