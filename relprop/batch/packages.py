"""The package that arrays on disk take, or a sentence that says how to get it."""

from __future__ import annotations

from relprop.errors import MissingPackageError

try:
    import zarr
    from zarr.codecs import BloscCodec
    from zarr.errors import ContainsArrayError
except ModuleNotFoundError as missing:
    raise MissingPackageError(
        f"this needs {missing.name}, which is not installed: pip install 'relprop[batch]' (on "
        "Python 3.11 or newer)"
    ) from None

__all__ = ["BloscCodec", "ContainsArrayError", "zarr"]
