"""`python -m relprop` and the command `relprop`."""

from __future__ import annotations

import sys
import traceback

INTERNAL_ERROR = 70
"""The exit code of a bug in relprop, as in BSD's sysexits."""
USAGE_ERROR = 2
COMMAND_LINE_PACKAGES = {
    "click": "click",
    "rich": "rich",
    "PIL": "pillow",
    "matplotlib": "matplotlib",
    "jinja2": "jinja2",
    "markupsafe": "jinja2",
}


def main() -> None:
    """Run the command line and exit: 0 all done, 1 something failed, 2 wrong usage, 70 a bug."""
    try:
        from relprop.cli.program import program

        program(prog_name="relprop")
    except ModuleNotFoundError as missing:
        package = COMMAND_LINE_PACKAGES.get((missing.name or "").split(".")[0])
        if package is None:
            _report_bug()
        print(
            f"Error: the command line needs {package}: pip install 'relprop[cli]'", file=sys.stderr
        )
        sys.exit(USAGE_ERROR)
    except Exception:  # the last resort: scripts must be able to tell a bug from a bad picture
        _report_bug()


def _report_bug() -> None:
    traceback.print_exc()
    print(
        "Error: this is a bug in relprop; please report it together with the lines above",
        file=sys.stderr,
    )
    sys.exit(INTERNAL_ERROR)


if __name__ == "__main__":
    main()
