"""What docstrings write otherwise than Markdown does: code after two colons, and examples."""

from __future__ import annotations

import re
from typing import Any

import griffe

ALONE = re.compile(r"^[ \t]*::\n", re.MULTILINE)
#: To griffe "Examples" are code with prompts, and "Example" is a note, whose prompts are quotes.
EXAMPLE = re.compile(r"^([ \t]*)Example:$", re.MULTILINE)
AT_THE_END = re.compile(r"(?<=\S) ?::$", re.MULTILINE)


class OurDocstrings(griffe.Extension):
    """Puts docstrings into griffe's terms before they are read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Once for every function, class and module."""
        if obj.docstring:
            text = AT_THE_END.sub(":", ALONE.sub("", obj.docstring.value))
            obj.docstring.value = EXAMPLE.sub(r"\1Examples:", text)
