"""Which part of a data set a worker gets does not matter to what is on disk in the end."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

pytest.importorskip("zarr")

import zarr

from relprop import LRP
from relprop.batch import Cluster, LocalEngine, RayEngine, Row, open_output, open_source
from relprop.batch.cluster import ClusterError
from relprop.batch.items import Shape
from relprop.batch.shares import Share, divide
from relprop.batch.worker import Orders, Worker, faults_said
from relprop.errors import InvalidInputError, MissingPackageError, StorageError
from tests.batch.in_memory import InMemory

Explain = Callable[..., list[Row]]
SHAPE = (2, 5, 5)


def contents(group: Path) -> dict[str, bytes]:
    files = (path for path in group.rglob("*") if path.is_file())
    return {str(path.relative_to(group)): path.read_bytes() for path in files}


@pytest.fixture
def source() -> InMemory:
    return InMemory(list(torch.randn(29, *SHAPE, dtype=torch.float64)))


@pytest.fixture
def orders(model: nn.Module, monkeypatch: pytest.MonkeyPatch) -> Orders:
    def make() -> LocalEngine:
        return LocalEngine(LRP(model), batch_size=3)

    monkeypatch.chdir(Path.cwd())  # which a worker changes, and this restores
    return Orders(make, Path.cwd(), torch.get_num_threads(), readers=2)


@given(st.integers(1, 200), st.integers(1, 5), st.integers(1, 9), st.data())
def test_shares_hold_every_waiting_item_once_and_cut_no_batch(
    count: int, size: int, workers: int, data: st.DataObject
) -> None:
    source = InMemory([torch.zeros(SHAPE)] * count)
    done = {i: SHAPE for i in range(count) if data.draw(st.booleans())}
    shares = list(divide(source, done, {SHAPE: size}, workers))
    held = [[item.index for item in share.source.items] for share in shares]
    waiting = [i for members in held for i in members if i not in done]
    assert waiting == [i for i in range(count) if i not in done]
    for share, members in zip(shares, held, strict=True):
        assert members[0] % size == 0
        assert members[-1] == count - 1 or (members[-1] + 1) % size == 0
        assert set(share.explained) < set(members)


def explain_by_shares(
    source: InMemory, orders: Orders, path: Path, sizes: dict[Shape, int], write: bool = False
) -> None:
    """Explains the shares last to first, by a worker for every other one."""
    with open_output(path, source, {}, {"batch_size": 3}) as output:
        if write:
            orders = replace(orders, place=output.place())
        workers = [Worker(orders), Worker(orders)]
        shares = list(divide(source, {}, sizes, 2))
        assert len(shares) > 1 or source.shape is None
        for number, share in enumerate(reversed(shares)):
            for found in workers[number % 2].explain(pickle.loads(pickle.dumps(share))):
                assert found.written == (write and bool(found.done))
                output.record(found)
        output.finish()


@pytest.mark.parametrize("write", [False, True], ids=["driver writes", "workers write"])
def test_shares_give_what_the_whole_gives(
    explain: Explain, source: InMemory, orders: Orders, tmp_path: Path, write: bool
) -> None:
    explain(source)
    explain_by_shares(source, orders, tmp_path / "shares.zarr", {SHAPE: 3}, write)
    assert contents(tmp_path / "shares.zarr") == contents(tmp_path / "out.zarr")


def test_items_that_cannot_be_read_keep_their_places(orders: Orders, source: InMemory) -> None:
    source.tensors[4] = None
    share = next(divide(source, {7: SHAPE}, {SHAPE: 3}, 1))
    rows = [[row.index for row in found.rows] for found in Worker(orders).explain(share)]
    assert rows == [[0, 1, 2], [3, 5], [4]]


def test_items_of_several_shapes_are_explained_as_they_come(
    explain: Explain, orders: Orders, tmp_path: Path
) -> None:
    images = [torch.randn(2, 5, 5 + i % 2, dtype=torch.float64) for i in range(10)]
    explain(InMemory(images))
    explain_by_shares(InMemory(images), orders, tmp_path / "shares.zarr", {}, write=True)
    assert contents(tmp_path / "shares.zarr") == contents(tmp_path / "out.zarr")


def test_share_of_a_large_array_is_small_to_send(tmp_path: Path) -> None:
    values = np.random.default_rng(0).random((500, 3, 8, 8), dtype=np.float32)
    np.save(tmp_path / "x.npy", values)
    zarr.save_array(tmp_path / "x.zarr", values)
    for name in ("x.npy", "x.zarr"):
        source = open_source([tmp_path / name], torch.load, None)
        share = list(divide(source, {}, {(3, 8, 8): 4}, 1))[2]
        sent = pickle.dumps(share)
        assert len(sent) < 4000
        received: Share = pickle.loads(sent)
        item = received.source.items[0]
        assert item.index == 64
        assert np.array_equal(received.source.read(item).numpy(), values[64])


def test_store_that_is_another_on_this_machine_is_not_written(
    orders: Orders, source: InMemory, tmp_path: Path
) -> None:
    with open_output(tmp_path / "out.zarr", source, {"model": "a"}, {}) as output:
        place = output.place()
    (tmp_path / "out.zarr" / "zarr.json").write_text("{}")
    with pytest.raises(StorageError, match=r"is not the same folder on .*--workers-write"):
        Worker(replace(orders, place=place))


def test_machines_that_differ_are_refused(orders: Orders, tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="install the same on all machines"):
        Worker(replace(orders, versions={**orders.versions, "torch": "1.0"}))
    with pytest.raises(InvalidInputError, match="cannot be entered on"):
        Worker(replace(orders, folder=tmp_path / "gone"))


def test_faults_are_sent_whatever_they_are() -> None:
    def failing(fault: Exception) -> list[object]:
        def explained() -> object:
            yield 1
            raise fault

        return list(faults_said(explained()))  # type: ignore[arg-type]

    refused = InvalidInputError("no")
    assert failing(refused) == [1, refused]
    bug = failing(KeyError(lambda: 0))[1]
    assert isinstance(bug, RuntimeError)
    assert "KeyError" in str(pickle.loads(pickle.dumps(bug)))


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "127.0.0.1:first"])
def test_cluster_that_is_not_there_is_said(address: str) -> None:
    pytest.importorskip("ray.data")
    with (
        pytest.raises(ClusterError, match=f"there is no Ray cluster at {address}"),
        Cluster(address).joined(),
    ):
        pass


def test_without_ray_one_sentence_says_so(
    model: nn.Module, source: InMemory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    engine = RayEngine(LocalEngine(LRP(model)), lambda: None, Cluster())  # type: ignore[arg-type]
    path = tmp_path / "out.zarr"
    with (
        pytest.raises(MissingPackageError, match=r"pip install 'relprop\[ray\]'"),
        open_output(path, source, {}, {}) as output,
    ):
        engine.explain_all(source, output)
    assert not path.exists()
