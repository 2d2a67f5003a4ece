"""Reading ahead: items are decoded by threads while others are being explained."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

from relprop.batch.items import Item, Loaded, Shape
from relprop.batch.sources import Source
from relprop.errors import RelpropError


class Prefetch:
    """The items of a source in their order, read by threads, so many `ahead` of who takes them.

    Args:
        source: the data set.
        explained: the shapes of items that need not be read, by their index.
        readers: how many threads read.
    """

    def __init__(self, source: Source, explained: Mapping[int, Shape], readers: int) -> None:
        self.ahead = 2 * readers
        self._source = source
        self._explained = explained
        self._pool = ThreadPoolExecutor(readers, thread_name_prefix="relprop-read")

    def __enter__(self) -> Prefetch:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._pool.shutdown(cancel_futures=True)

    def __iter__(self) -> Iterator[Loaded]:
        waiting: deque[Loaded | Future[Loaded]] = deque()
        for item in self._source.items:
            waiting.append(self._start(item))
            while len(waiting) > self.ahead:
                yield _taken(waiting.popleft())
        while waiting:
            yield _taken(waiting.popleft())

    def _start(self, item: Item) -> Loaded | Future[Loaded]:
        shape = self._explained.get(item.index)
        return self._pool.submit(self._read, item) if shape is None else Loaded(item, shape)

    def _read(self, item: Item) -> Loaded:
        try:
            inputs = self._source.read(item)
        except RelpropError as fault:
            return Loaded(item, error=str(fault))
        except Exception as fault:  # decoders of damaged files may raise anything
            said = f"{type(fault).__name__}: {fault}".partition("\n")[0]
            return Loaded(item, error=f"{item.name}: cannot be read ({said})")
        return Loaded(item, tuple(inputs.shape), inputs)


def _taken(one: Loaded | Future[Loaded]) -> Loaded:
    return one.result() if isinstance(one, Future) else one
