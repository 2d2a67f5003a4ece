"""The packages that files of large images take, each imported where it is needed first."""

from __future__ import annotations

import importlib
from typing import Any

from relprop.errors import MissingPackageError

EXTRAS = {
    "zarr": "pip install 'relprop[large]' (on Python 3.11 or newer)",
    "zarr.codecs": "pip install 'relprop[large]' (on Python 3.11 or newer)",
    "tifffile": "pip install 'relprop[large]'",
    "openslide": "pip install openslide-python openslide-bin",
}
"""How to get each."""


def require(module: str) -> Any:
    """A module of `EXTRAS`.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingPackageError(
            f"this needs {missing.name}, which is not installed: {EXTRAS[module]}"
        ) from None
