"""What MkDocs does to the pages beside what it can do by itself: results, formulas, set-ups."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
#: What benchmarks leave: pages and pictures, which are on the site without being copied to docs.
RESULTS = ROOT / "benchmarks" / "results"
SHOWN = {".md", ".png"}
#: Code that a page needs and does not show; the tests run it.
SET_UP = re.compile(r"<!-- set-up\n.*?-->\n*", re.DOTALL)
#: A link out of docs to the results is right where the repository is read.
OUT_OF_DOCS = re.compile(r"\.\./(?=benchmarks/results/)")


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Let fences of the language `math` be formulas."""
    fences = config.mdx_configs.setdefault("pymdownx.superfences", {})
    fences["custom_fences"] = [{"name": "math", "class": "formula", "format": formula}]
    return config


def formula(source: str, *_: Any, **__: Any) -> str:
    """TeX as MathML, which browsers draw by themselves."""
    return f'<div class="formula">{convert(source, display="block")}</div>'


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the results of the benchmarks."""
    for path in sorted(RESULTS.rglob("*")):
        if path.suffix in SHOWN:
            name = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, name, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Leave out set-ups, and let links to the results stay on the site."""
    return OUT_OF_DOCS.sub("", SET_UP.sub("", markdown))
