"""What distinguishes two descriptions of how something was made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any


def differences(before: Mapping[str, Any], now: Mapping[str, Any], at: str = "") -> Iterator[str]:
    """What is not the same, such as `options bias 'absorb', not 'ignore'`, mappings within too."""
    for key in dict.fromkeys((*before, *now)):
        was, wanted = before.get(key), now.get(key)
        if isinstance(was, Mapping) and isinstance(wanted, Mapping):
            yield from differences(was, wanted, f"{at}{key} ")
        elif was != wanted:
            yield f"{at}{key} {was!r}, not {wanted!r}"
