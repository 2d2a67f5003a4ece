"""The reference leaves out nothing that is public."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType

import pytest

import relprop
from relprop import baselines, errors, large, ops, visualize
from relprop.rules import lrp

DOCS = Path(__file__).parents[2] / "docs"
#: Where the names of each module are described; what a module borrows is where it belongs.
PAGES = {
    ops: "operators.md",
    lrp: "rules.md",
    baselines: "api.md",
    visualize: "api.md",
    large: "api.md",
}
BORROWED = {"Composite": "rules.md", "backends": "operators.md"}


def described(page: str) -> set[str]:
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    return {line.rpartition(".")[2] for line in lines if line.startswith("::: ")}


def callables(module: ModuleType) -> set[str]:
    return {name for name in module.__all__ if callable(getattr(module, name))}


@pytest.mark.parametrize("module", PAGES, ids=lambda module: module.__name__)
def test_a_module_is_described_in_full(module: ModuleType) -> None:
    pages = {PAGES[module], *BORROWED.values()}
    assert callables(module) <= set().union(*map(described, pages))


def test_every_public_name_is_described() -> None:
    names = callables(relprop) - set(BORROWED)
    assert names <= described("api.md") | set(vars(errors))
    assert "errors" in described("errors.md")


def test_the_table_of_composites_has_all() -> None:
    text = (DOCS / "methods" / "lrp.md").read_text(encoding="utf-8")
    assert [name for name in lrp.COMPOSITES if f"| `{name}` |" not in text] == []
