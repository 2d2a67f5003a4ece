"""Writing behind: a thread records what was explained while more is being explained."""

from __future__ import annotations

import queue
import threading
from types import TracebackType

from relprop.batch.items import Explained
from relprop.batch.output import Output, cannot_write
from relprop.errors import StorageError

BEHIND = 2
"""How many batches may wait to be written."""


class Writer:
    """Records batches in an output, in a thread of its own: a context, which waits for the last.

    A fault of the thread ends the context, or is raised by the next `put`, whichever is sooner.

    Raises:
        StorageError: something cannot be written; nothing after it was.
    """

    def __init__(self, output: Output) -> None:
        self._output = output
        self._waiting: queue.Queue[Explained | None] = queue.Queue(BEHIND)
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._write_all, name="relprop-write", daemon=True)

    def __enter__(self) -> Writer:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        fault: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self._waiting.put(None)
        self._thread.join()
        if fault is None:
            self._raise()

    def put(self, explained: Explained) -> None:
        """Leave a batch to be written; waits while others do."""
        self._raise()
        self._waiting.put(explained)

    def _raise(self) -> None:
        if isinstance(self._fault, OSError):
            raise StorageError(
                f"{cannot_write(self._output.path, self._fault)}; what was explained before is "
                "kept: mend that, and continue with --resume (resume=True)"
            ) from self._fault
        if self._fault is not None:
            raise self._fault

    def _write_all(self) -> None:
        while (explained := self._waiting.get()) is not None:
            if self._fault is not None:
                continue  # to be taken off the queue, so that no one waits for room in it
            try:
                self._output.record(explained)
            except BaseException as fault:  # it belongs to whoever waits for this thread
                self._fault = fault
