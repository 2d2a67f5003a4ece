"""Every block of Python in the README and in the documentation runs as it stands."""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
#: Code that readers see, or a set-up that they do not, in a comment.
CODE = re.compile(r"^(?:```python|<!-- set-up)\n(.*?)^(?:```|-->)$", re.MULTILINE | re.DOTALL)
FENCE = re.compile(r"^\s*```+ *(\S+)", re.MULTILINE)
#: What fences hold that are not run: shell commands and formulas.
NOT_PYTHON = {"sh", "math"}
#: Packages that relprop does not need, and the page about each may.
OPTIONAL = {"quantus", "shap", "tangermeme", "zarr"}


def blocks(page: Path) -> list[ast.Module]:
    """The code of a page in its order, its lines counted from the top of the page."""
    text = page.read_text(encoding="utf-8")
    return [
        ast.parse("\n" * text.count("\n", 0, found.start(1)) + found[1], str(page))
        for found in CODE.finditer(text)
    ]


def imported(code: ast.Module) -> set[str]:
    """The packages that a block imports."""
    modules = set()
    for node in ast.walk(code):
        if isinstance(node, ast.Import):
            modules |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
    return {module.partition(".")[0] for module in modules}


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", list(filter(blocks, PAGES)), ids=name_of)
def test_the_code_of_a_page_runs(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code = blocks(page)
    others = OPTIONAL & set().union(*map(imported, code))
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": page.stem}
    with warnings.catch_warnings():
        if others:  # which warn about themselves
            warnings.simplefilter("ignore")
        for package in sorted(others):
            pytest.importorskip(package)
        for block in code:
            exec(compile(block, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_a_page_shows_no_code_that_is_not_run(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    languages = set(FENCE.findall(text))
    assert languages <= {"python", *NOT_PYTHON}
    assert len(blocks(page)) == text.count("```python") + text.count("<!-- set-up")
