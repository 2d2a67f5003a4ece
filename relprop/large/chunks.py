"""Which chunks of an image are ready when, and which tiles are needed no more."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Container, Iterator, Sequence


class Chunks:
    """The chunks that are to be written.

    Args:
        tiles: of every chunk, those that reach into it, in their order. A chunk that none reaches
            into is ready after the first.
        done: the chunks that are written.
    """

    def __init__(self, tiles: Sequence[Sequence[int]], done: Container[int]) -> None:
        self._tiles = {k: own or [0] for k, own in enumerate(tiles) if k not in done}
        self._left = Counter(tile for own in self._tiles.values() for tile in own)
        self._ready = defaultdict(list)
        for chunk, own in self._tiles.items():
            self._ready[own[-1]].append(chunk)

    def need(self, tile: int) -> bool:
        """Whether some chunk waits for a tile."""
        return self._left[tile] > 0

    def ready_after(self, tile: int) -> Sequence[int]:
        """The chunks that wait for no tile after this one."""
        return self._ready.get(tile, [])

    def finish(self, chunk: int) -> Iterator[int]:
        """A chunk is written: the tiles that no other waits for."""
        for tile in self._tiles[chunk]:
            self._left[tile] -= 1
            if not self._left[tile]:
                yield tile
