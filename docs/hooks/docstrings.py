"""Docstrings write code after a double colon; Markdown indents it, and wants no second colon."""

from __future__ import annotations

import re
from typing import Any

import griffe

ALONE = re.compile(r"^[ \t]*::\n", re.MULTILINE)
AT_THE_END = re.compile(r"(?<=\S) ?::$", re.MULTILINE)


class LiteralBlocks(griffe.Extension):
    """Takes the colons off before the docstring is read."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Once for every function, class and module."""
        if obj.docstring:
            text = ALONE.sub("", obj.docstring.value)
            obj.docstring.value = AT_THE_END.sub(":", text)
