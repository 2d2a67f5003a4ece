"""Print a page, and write it where asked to."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

from benchmarks.peers.deeplift.page import page as deeplift
from benchmarks.peers.lrp.page import page as lrp

PAGES: dict[str, Callable[[], str]] = {"deeplift": deeplift, "lrp": lrp}


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.peers",
        description="relprop beside other packages, on networks that show where sums hold.",
    )
    parser.add_argument("method", choices=PAGES)
    parser.add_argument("--output", type=Path, metavar="FILE", help="a Markdown file to write, too")
    options = parser.parse_args()
    page = PAGES[options.method]()
    if options.output is not None:
        options.output.write_text(page)
    print(page, end="")


if __name__ == "__main__":
    main()
