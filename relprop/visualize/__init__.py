"""Relevance as pictures: single maps, overlays, grids of methods, inner layers, books.

No value is ever shifted: zero has a colour of its own (white, in the default colours), and equal
magnitudes of either sign get equally strong ones, so that the sign in a picture is the sign of the
relevance. Everything that takes relevance takes it as (C, H, W), summed over the channels, or as
(H, W), or as a batch of one.
"""

try:
    from relprop.visualize.books import draw_books
    from relprop.visualize.colors import COLOR_MAPS, heat_map, limit, overlay, total
    from relprop.visualize.grids import SCALES, grid, layer_maps
    from relprop.visualize.panels import MEDIA, Key, Panel, figure
    from relprop.visualize.saving import save_png
except ModuleNotFoundError as missing:
    package = (missing.name or "").split(".")[0]
    raise ModuleNotFoundError(
        f"relprop.visualize needs {package}, which is not installed: pip install 'relprop[cli]'",
        name=missing.name,
    ) from None

__all__ = [
    "COLOR_MAPS",
    "MEDIA",
    "SCALES",
    "Key",
    "Panel",
    "draw_books",
    "figure",
    "grid",
    "heat_map",
    "layer_maps",
    "limit",
    "overlay",
    "save_png",
    "total",
]
