"""Workers and the command may be killed: what is on disk in the end is what one process leaves."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

pytest.importorskip("zarr")
pytest.importorskip("ray.data")

import ray

from relprop import LRP
from relprop.batch import Cluster, Item, LocalEngine, RayEngine, Row, explain_all, open_output
from relprop.batch import ray_engine as module
from relprop.batch.cluster import ClusterError
from relprop.batch.shares import divide
from relprop.batch.worker import Orders
from relprop.errors import InvalidInputError

pytestmark = pytest.mark.filterwarnings("ignore:::ray")
SHAPE = (2, 6, 6)
COUNT = 26


@pytest.fixture(scope="module", autouse=True)
def cluster() -> Iterator[str]:
    """A cluster of two cores on this machine; its address."""
    options = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init("local", num_cpus=2, object_store_memory=100 * 2**20, **options)
    send_by_value()
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """As a worker has: sums may be added in another order by two."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def send_by_value() -> None:
    """Workers do not know this module."""
    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


def make() -> LocalEngine:
    torch.manual_seed(0)
    layers = torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(48, 3)
    return LocalEngine(LRP(torch.nn.Sequential(*layers).eval()), batch_size=2)


class Deadly:
    """A data set; who first reads the `fatal` item, if there is one, is killed for good."""

    shape = SHAPE

    def __init__(self, marker: Path | None = None, fatal: int = -1) -> None:
        self.items = [Item(i, str(i)) for i in range(COUNT)]
        self._marker = marker
        self._fatal = fatal

    def part(self, items: list[Item]) -> Deadly:
        some = Deadly(self._marker, self._fatal)
        some.items = items
        return some

    def read(self, item: Item) -> Tensor:
        if item.index == self._fatal and self._marker and not self._marker.exists():
            self._marker.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return torch.randn(SHAPE, generator=torch.Generator().manual_seed(item.index))


def explain(
    source: Deadly, path: Path, watch: Callable[[Any], None] = lambda _: None, **options: Any
) -> list[Row]:
    """Going on with what is there, by one worker unless told otherwise."""
    cluster = Cluster(**{"workers": 1, **options})
    with open_output(path, source, {}, {"batch_size": 2}, resume=True) as output:
        return RayEngine(make(), make, cluster).explain_all(source, output, watch)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What one process leaves."""
    path = tmp_path_factory.mktemp("local") / "out.zarr"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with open_output(path, Deadly(), {}, {"batch_size": 2}) as output:
        explain_all(Deadly(), make(), output)
    torch.set_num_threads(threads)
    return contents(path)


def contents(group: Path) -> dict[str, bytes]:
    files = (path for path in group.rglob("*") if path.is_file())
    return {str(path.relative_to(group)): path.read_bytes() for path in files}


def recorded(path: Path) -> list[int]:
    """The items in an output's journal, as often as they are there."""
    lines = Path(f"{path}.journal").read_bytes().splitlines()[1:]
    return sorted(row["index"] for line in lines for row in json.loads(line)["rows"])


def test_killed_worker_loses_nothing_and_nothing_counts_twice(
    undisturbed: dict[str, bytes], tmp_path: Path
) -> None:
    path, marker = tmp_path / "out.zarr", tmp_path / "killed"
    rows = explain(Deadly(marker, 13), path, workers=2, workers_write=True)
    assert marker.exists()
    assert not any(row.error for row in rows)
    assert recorded(path) == list(range(COUNT))
    assert contents(path) == undisturbed


DRIVER = """\
import os, signal, sys
from pathlib import Path
import ray
from tests.batch.test_ray_engine import Deadly, explain, send_by_value

batches = []

def watch(found):
    batches.append(found)
    if len(batches) == 5:
        os.kill(os.getpid(), signal.SIGKILL)

send_by_value()
explain(Deadly(), Path(sys.argv[1]), watch, address=sys.argv[2])
"""


def test_killed_command_is_continued(
    undisturbed: dict[str, bytes], cluster: str, tmp_path: Path
) -> None:
    path, root = tmp_path / "out.zarr", Path(__file__).parents[2]
    paths = os.pathsep.join([str(root), os.environ.get("PYTHONPATH", "")])
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", DRIVER, path, cluster],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": paths},
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr
    before = recorded(path)
    assert 0 < len(before) < COUNT
    rows = explain(Deadly(), path)
    assert not any(row.error for row in rows)
    assert recorded(path) == list(range(COUNT))
    assert contents(path) == undisturbed


def test_share_that_kills_its_workers_is_given_up(tmp_path: Path) -> None:
    """Without Ray's processes: an actor, and a tally that is asked as an actor is."""

    class Handle:
        def __init__(self) -> None:
            self.begin, self._tally = self, module.Tally()

        def remote(self, number: int) -> Any:
            return ray.put(self._tally.begin(number))

    orders = Orders(make, Path.cwd(), 1, 1)
    actor = module.Actor(ray.cloudpickle.dumps(orders), Handle(), attempts=2)
    share = next(divide(Deadly(), {}, {SHAPE: 2}, COUNT))
    row = {"number": [7], "share": [ray.cloudpickle.dumps(share)]}
    assert [len(list(actor(row))) for _ in range(4)] == [1, 1, 0, 0]


def test_items_that_no_worker_came_back_with_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.RayEngine, "_given_back", lambda *_: iter(()))
    rows = explain(Deadly(), tmp_path / "out.zarr")
    assert len(rows) == COUNT
    assert rows[3].error.startswith("3: was not explained, as the workers that had it died")


def test_what_is_wrong_in_workers_is_said_by_the_command(tmp_path: Path) -> None:
    def wrong() -> LocalEngine:
        raise InvalidInputError("no such model on this machine")

    engine = RayEngine(make(), wrong, Cluster(workers=1))
    path = tmp_path / "out.zarr"
    with (
        pytest.raises(InvalidInputError, match="no such model on this machine"),
        open_output(path, Deadly(), {}, {}) as output,
    ):
        engine.explain_all(Deadly(), output)
    assert not path.exists()


def test_machines_that_are_too_small_are_said(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"no machine .* has room for a worker of 1000 CPUs"):
        explain(Deadly(), tmp_path / "out.zarr", cpus_per_worker=1000)
