"""From a data set to an output: reading ahead, explaining, and writing behind, all at once.

Threads decode items ahead of need, the caller's thread forms batches and explains them, and another
writes relevance and journal. Between them there is room for a few batches only, so that the slowest
of the three sets the pace and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from torch import Tensor

from relprop.batch.batches import form
from relprop.batch.engine import Engine
from relprop.batch.items import Explained, Loaded, Row
from relprop.batch.output import Output
from relprop.batch.prefetch import Prefetch
from relprop.batch.sources import Source
from relprop.batch.writer import Writer

Watch = Callable[[Explained], None]
"""Told of every batch, and of every item that cannot be read, as soon as it is known."""


def explain_all(
    source: Source,
    engine: Engine,
    output: Output,
    watch: Watch = lambda _: None,
    readers: int = 2,
) -> list[Row]:
    """Explain the items of a data set that an output does not hold yet.

    Items that failed in an earlier run are tried again.

    Args:
        source: the data set.
        engine: what explains.
        output: where relevance goes.
        watch: told of progress, in the caller's thread.
        readers: how many threads read items.

    Returns:
        A row for every item of the data set, in their order.

    Raises:
        StorageError: the output cannot be written. RelpropError: what the engine raises where no
            other item would be spared.
    """
    with Prefetch(source, output.explained, readers) as loaded, Writer(output) as writer:
        loaded.ahead = max(loaded.ahead, 2 * max(output.sizes.values(), default=1))

        def note(found: Explained) -> None:
            writer.put(found)
            watch(found)

        def size_of(example: Tensor) -> int:
            size = engine.batch_size(example)
            loaded.ahead = max(loaded.ahead, 2 * size)
            return size

        batches = form(_readable(loaded, note), output.sizes, size_of)
        for found in engine.explain(batches):
            note(found)
    output.finish()
    return [output.rows[item.index] for item in source.items]


def _readable(loaded: Iterable[Loaded], note: Callable[[Explained], None]) -> Iterator[Loaded]:
    """The items without those that could not be read, which are noted."""
    for one in loaded:
        if one.error:
            note(Explained.failed(one.item, one.error))
        else:
            yield one
