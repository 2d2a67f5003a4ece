"""Explaining on many machines: a Ray Data pipeline, whose actors hold the model.

Shares of the data set are the rows of a Ray dataset, each in a block of its own. `map_batches`
hands them to a pool of actors, which make their engine once, read the items, explain them, and give
every batch back as soon as it is done. Ray restarts actors that die, and starts their shares again.
This process records what comes back, as it does with batches that it has explained itself.
"""

from __future__ import annotations

import importlib
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from relprop.batch.cluster import Cluster, ClusterError
from relprop.batch.engine import LocalEngine
from relprop.batch.items import Batch, Explained, Item, Row
from relprop.batch.output import Output
from relprop.batch.pipeline import Watch
from relprop.batch.shares import Divisible, Share, divide
from relprop.batch.worker import Make, Orders, Worker, faults_said
from relprop.batch.writer import Writer

ATTEMPTS = 4
"""How often a share is begun. Ray would start it again for ever, and an item may be what kills."""
SETTINGS = {
    "enable_progress_bars": False,
    "print_on_execution_start": False,
    "target_max_block_size": 1,  # bytes: every batch is handed back at once
    "max_errored_blocks": -1,  # what is missing in the end is known, and said
}
"""Of Ray Data, for our pipeline alone."""


class RayEngine:
    """Explains data sets by workers on a cluster.

    Args:
        engine: an engine in this process, which sizes batches, and tries one item before workers
            start: what is wrong with a model is wrong everywhere.
        make: makes the same engine in a worker.
        cluster: where the workers are.
        readers: how many threads of each worker read items.
    """

    def __init__(self, engine: LocalEngine, make: Make, cluster: Cluster, readers: int = 2) -> None:
        self._engine = engine
        self._make = make
        self._cluster = cluster
        self._readers = readers

    def explain_all(
        self, source: Divisible, output: Output, watch: Watch = lambda _: None
    ) -> list[Row]:
        """Explain the items of a data set that an output does not hold yet.

        Items that failed in an earlier run are tried again.

        Returns:
            A row for every item of the data set, in their order.

        Raises:
            StorageError: the output cannot be written. MissingPackageError, ClusterError: there
                is no Ray, or no cluster. RelpropError: no other item would be spared.
        """
        done = output.explained
        waiting = {item.index: item for item in source.items if item.index not in done}
        if waiting:
            with self._cluster.joined() as ray, Writer(output) as writer:
                for found in self._explained(ray, source, waiting, output):
                    writer.put(found)
                    watch(found)
        output.finish()
        return [output.rows[item.index] for item in source.items]

    def _explained(
        self, ray: Any, source: Divisible, waiting: dict[int, Item], output: Output
    ) -> Iterator[Explained]:
        """All that are waiting, in whatever order; what no worker came back with is said."""
        self._settle(source, list(waiting.values()), output)
        workers = self._cluster.room(ray)
        shares = list(divide(source, output.explained, output.sizes, workers))
        for found in self._given_back(ray, shares, min(workers, len(shares)), output):
            for row in found.rows:
                waiting.pop(row.index, None)
            yield found
        for item in waiting.values():
            yield Explained.failed(item, _lost(item))

    def _settle(self, source: Divisible, waiting: Sequence[Item], output: Output) -> None:
        """How many items go together, if all have one shape; and whether one can be explained."""
        shape = source.shape
        if shape is None:
            return
        found = _first_readable(source, waiting)
        if shape not in output.sizes:
            output.sizes[shape] = self._engine.batch_size(found[1]) if found else 1
        if found and not output.explained:
            item, example = found
            list(self._engine.explain([Batch((item,), example[None], 1)]))

    def _given_back(
        self, ray: Any, shares: Sequence[Share], workers: int, output: Output
    ) -> Iterator[Explained]:
        """What the actors give back, in whatever order."""
        data = importlib.import_module("ray.data")
        place = output.place() if self._cluster.workers_write else None
        cores, gpus = self._cluster.cpus_per_worker, self._cluster.gpus_per_worker
        orders = Orders(self._make, Path.cwd(), cores, self._readers, place)
        told = ray.cloudpickle.dumps(orders)
        tally = ray.remote(num_cpus=0)(Tally).remote()
        rows = [
            {"number": number, "share": ray.cloudpickle.dumps(share)}
            for number, share in enumerate(shares)
        ]
        pipeline = data.from_items(rows, override_num_blocks=len(rows)).map_batches(
            Actor,
            fn_constructor_args=(told, tally, ATTEMPTS),
            batch_size=1,
            compute=data.ActorPoolStrategy(size=workers),
            num_cpus=cores,
            num_gpus=gpus or None,
        )
        for name, value in SETTINGS.items():
            setattr(pipeline.context, name, value)
        try:
            for table in pipeline.iter_batches(batch_size=None, batch_format="pyarrow"):
                for value in table.column("found"):
                    yield _opened(value.as_buffer())
        except ray.exceptions.RayError as fault:
            said = str(fault).strip().rpartition("\n")[2]
            raise ClusterError(f"the cluster's workers cannot be used ({said})") from fault


class Tally:
    """How often every share was begun, kept where no worker takes it along when it dies."""

    def __init__(self) -> None:
        self._begun: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count one more time, and say how many it are."""
        self._begun[number] += 1
        return self._begun[number]


class Actor:
    """What Ray keeps in a worker's process: the engine is made with the first share.

    Args:
        orders: the worker's, pickled.
        tally: a handle of the `Tally`.
        attempts: how often a share may be begun.
    """

    def __init__(self, orders: bytes, tally: Any, attempts: int) -> None:
        self._ray = importlib.import_module("ray")
        self._orders = orders
        self._tally = tally
        self._attempts = attempts
        self._worker: Worker | None = None

    def __call__(self, rows: dict[str, Any]) -> Iterator[dict[str, list[bytes]]]:
        """Of a share, one row a batch; what goes wrong is a row as well."""
        for number, share in zip(rows["number"], rows["share"], strict=True):
            if self._ray.get(self._tally.begin.remote(int(number))) > self._attempts:
                continue
            for found in faults_said(self._explained(share)):
                yield {"found": [pickle.dumps(found, pickle.HIGHEST_PROTOCOL)]}

    def _explained(self, share: bytes) -> Iterator[Explained]:
        if self._worker is None:
            self._worker = Worker(pickle.loads(self._orders))
        yield from self._worker.explain(pickle.loads(share))


def _opened(sent: Any) -> Explained:
    found = pickle.loads(sent)
    if isinstance(found, Exception):
        raise found
    explained: Explained = found
    return explained


def _first_readable(source: Divisible, items: Sequence[Item]) -> tuple[Item, Tensor] | None:
    for item in items:
        try:
            return item, source.read(item)
        except Exception:  # a worker comes upon it as well, and says it
            continue
    return None


def _lost(item: Item) -> str:
    return (
        f"{item.name}: was not explained, as the workers that had it died, {ATTEMPTS} times over; "
        "--resume tries it again"
    )
