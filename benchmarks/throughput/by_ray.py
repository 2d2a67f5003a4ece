"""What the command's process does about a picture that a worker gives back, in seconds."""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import nn

from benchmarks.throughput.pictures import SIDE, make_pictures
from relprop import LRP
from relprop.batch import Cluster, LocalEngine, RayEngine, open_output, open_source
from relprop.cli.images import Decoder, Preprocessing

PICTURES = 192
BATCH = 8
ROUNDS = 2


def make() -> LocalEngine:
    """An engine that takes hardly any time, so that there is much to record."""
    torch.manual_seed(0)
    pooled = nn.AvgPool2d(32), nn.Flatten(), nn.Linear(3 * (SIDE // 32) ** 2, 10)
    return LocalEngine(LRP(nn.Sequential(*pooled).eval(), "epsilon"), batch_size=BATCH)


def driver_seconds(workers_write: bool) -> float:
    """Processor time of this process a picture, the median of rounds, workers being two.

    Raises:
        MissingPackageError: Ray is not installed.
    """
    cluster = Cluster(workers=2, workers_write=workers_write)
    decode = Decoder(Preprocessing(SIDE), torch.float32)
    taken = []
    with tempfile.TemporaryDirectory() as temporary, cluster.joined():
        make_pictures(Path(temporary, "pictures"), PICTURES)
        source = open_source([Path(temporary, "pictures")], decode, (3, SIDE, SIDE))
        engine = RayEngine(make(), make, cluster)
        for number in range(ROUNDS):
            with open_output(Path(temporary, f"{number}.zarr"), source, {}, {}) as output:
                # What is done once: the item that is tried, the pipeline, the actors' start.
                marks: list[tuple[int, float]] = []

                def watch(found: object, marks: list[tuple[int, float]] = marks) -> None:
                    marks.append((len(marks), time.process_time()))

                engine.explain_all(source, output, watch)
            (first, start), (last, end) = marks[len(marks) // 4], marks[-1]
            taken.append((end - start) / ((last - first) * BATCH))
    return statistics.median(taken)
