"""Files that speak of a version speak of the same one."""

from __future__ import annotations

import re
from pathlib import Path

import relprop

ROOT = Path(__file__).parents[2]


def found(pattern: str, name: str) -> str:
    """What the first line says that fits a pattern."""
    match = re.search(pattern, (ROOT / name).read_text(encoding="utf-8"), re.MULTILINE)
    assert match is not None, f"{name} has no line like {pattern}"
    return match[1]


def test_all_files_name_one_version() -> None:
    version = found(r'^version = "(.*)"$', "pyproject.toml")
    assert relprop.__version__ == version
    assert found(r"^version: (.*)$", "CITATION.cff") == version
    assert found(r"^## ([^ ,]+)", "docs/changelog.md") == version


def test_all_files_name_one_licence() -> None:
    licence = found(r'license="(.*)"', "setup.py")
    assert found(r"^license: (.*)$", "CITATION.cff") == licence
    assert found(r"^(\w+) License$", "LICENSE") == licence
