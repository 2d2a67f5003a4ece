"""A run that was cut off and continued leaves what an undisturbed one does."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

pytest.importorskip("zarr")

from relprop import LRP
from relprop.batch import Batch, Explained, LocalEngine, Row
from relprop.errors import InvalidInputError, StorageError
from tests.batch.in_memory import InMemory

Explain = Callable[..., list[Row]]


class Killed(BaseException):
    """The process ends here."""


def contents(group: Path) -> dict[str, bytes]:
    """Every file of a Zarr group."""
    files = (path for path in group.rglob("*") if path.is_file())
    return {str(path.relative_to(group)): path.read_bytes() for path in files}


def without_times(rows: list[Row]) -> list[Row]:
    return [replace(row, seconds=None) for row in rows]


@contextmanager
def failing(call: int, fault: BaseException) -> Iterator[list[int]]:
    """Raises a fault where the disk is waited for the so-manieth time, and ever after."""
    calls: list[int] = []
    real = os.fsync

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) >= call:
            raise fault
        real(handle)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield calls


@pytest.fixture
def source() -> InMemory:
    """Two shapes, and an item that cannot be read."""
    tensors: list[Tensor | None] = [
        torch.randn(2, 5 + (i % 4 == 3), 5, dtype=torch.float64) for i in range(9)
    ]
    tensors[1] = None
    return InMemory(tensors)


def test_cut_off_wherever_it_waits_for_the_disk(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    with failing(1000, Killed()) as calls:
        expected = without_times(explain(source))
    whole = contents(tmp_path / "out.zarr")
    assert len(calls) > 15
    for call in range(1, len(calls) + 1):
        name = f"cut-off-{call}.zarr"
        with failing(call, Killed()), pytest.raises(Killed):
            explain(source, name=name)
        assert without_times(explain(source, name=name, resume=True)) == expected
        assert contents(tmp_path / name) == whole


def test_journal_cut_off_within_any_line(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    expected = without_times(explain(source))
    whole = contents(tmp_path / "out.zarr")
    journal = tmp_path / "out.zarr.journal"
    lines = journal.read_bytes().splitlines(keepends=True)
    for kept in range(1, len(lines)):
        for cut in (0, 1, len(lines[kept]) // 2, len(lines[kept]) - 1):
            journal.write_bytes(b"".join(lines[:kept]) + lines[kept][:cut])
            assert without_times(explain(source, resume=True)) == expected
            assert contents(tmp_path / "out.zarr") == whole
            found = [json.loads(line) for line in journal.read_bytes().splitlines()]
            explained = [r["index"] for e in found[1:] for r in e["rows"] if not r["error"]]
            assert sorted(explained) == [0, *range(2, 9)]


KILLED_AGAIN_AND_AGAIN = """\
import os, random, signal, time
from pathlib import Path
import torch
from relprop import LRP
from relprop.batch import LocalEngine, explain_all, open_output
from tests.batch.in_memory import InMemory

class Deadly(InMemory):
    reads_left = 1000

    def read(self, item):
        self.reads_left -= 1
        if not self.reads_left:
            time.sleep(random.uniform(0, 0.02))
            os.kill(os.getpid(), signal.SIGKILL)
        return super().read(item)

torch.manual_seed(0)
torch.set_num_threads(1)
model = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3), torch.nn.ReLU(), torch.nn.Flatten(),
                            torch.nn.Linear(48, 3)).eval()
source = Deadly(list(torch.randn(60, 2, 6, 6)))
method = LRP(model).prepare(torch.zeros(2, 2, 6, 6))

def run(name):
    with open_output(Path(name), source, {}, {"batch_size": 4}, resume=True) as output:
        explain_all(source, LocalEngine(method, batch_size=4), output)

def in_a_child(name, reads):
    child = os.fork()
    if not child:
        random.seed(reads)
        source.reads_left = reads
        run(name)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])

assert in_a_child("undisturbed.zarr", 1000) == 0
for reads in (1, 5, 12, 14, 6, 9, 11, 3, 13, 2):
    assert in_a_child("killed.zarr", reads) == -signal.SIGKILL
assert in_a_child("killed.zarr", 1000) == 0
"""


def test_killed_at_random_moments(tmp_path: Path) -> None:
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED_AGAIN_AND_AGAIN],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert ended.returncode == 0, ended.stderr
    assert contents(tmp_path / "killed.zarr") == contents(tmp_path / "undisturbed.zarr")


def test_what_was_explained_is_not_read_again(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    with failing(9, Killed()), pytest.raises(Killed):
        explain(source)
    journal = (tmp_path / "out.zarr.journal").read_bytes().splitlines()[1:]
    recorded = {row["index"] for line in journal for row in json.loads(line)["rows"]}
    assert recorded
    source.read_so_far.clear()
    explain(source, resume=True)
    assert sorted(source.read_so_far) == sorted({*range(9)} - (recorded - {1}))


def test_items_that_failed_are_tried_again(explain: Explain, source: InMemory) -> None:
    assert explain(source)[1].error == "item-1: is damaged"
    source.tensors[1] = source.tensors[0]
    rows = explain(source, resume=True)
    assert not any(row.error for row in rows)
    assert rows[1].sum == pytest.approx(rows[0].sum, rel=1e-12)


def test_size_of_batches_may_change(explain: Explain, source: InMemory, model: nn.Module) -> None:
    with failing(9, Killed()), pytest.raises(Killed):
        explain(source)
    smaller = LocalEngine(LRP(model), batch_size=2)
    rows = explain(source, smaller, resume=True, batching={"batch_size": 2})
    alone = explain(source, name="alone.zarr")
    assert [row.sum for row in rows] == [
        row.sum and pytest.approx(row.sum, rel=1e-12) for row in alone
    ]


def test_full_disk_keeps_what_was_explained(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    expected = without_times(explain(source, name="whole.zarr"))
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with failing(9, full), pytest.raises(StorageError, match="No space left on device"):
        explain(source)
    assert without_times(explain(source, resume=True)) == expected
    assert contents(tmp_path / "out.zarr") == contents(tmp_path / "whole.zarr")


def test_output_is_written_by_one_process_at_a_time(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    explain(source)
    with (tmp_path / "out.zarr.journal").open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with pytest.raises(InvalidInputError, match="is being written by another process"):
            explain(source, resume=True)


def test_engine_may_give_batches_back_in_any_order(
    explain: Explain, source: InMemory, model: nn.Module, tmp_path: Path
) -> None:
    class Backwards(LocalEngine):
        def explain(self, batches: Iterable[Batch]) -> Iterator[Explained]:
            yield from super().explain(reversed(list(batches)))

    expected = without_times(explain(source))
    engine = Backwards(LRP(model), batch_size=3)
    with failing(9, Killed()), pytest.raises(Killed):
        explain(source, engine, name="backwards.zarr")
    rows = explain(source, engine, name="backwards.zarr", resume=True)
    assert without_times(rows) == expected
    assert contents(tmp_path / "backwards.zarr") == contents(tmp_path / "out.zarr")


def test_output_that_exists_is_not_touched(
    explain: Explain, source: InMemory, tmp_path: Path
) -> None:
    explain(source)
    before = contents(tmp_path / "out.zarr")
    with pytest.raises(InvalidInputError, match="exists already; continue it with --resume"):
        explain(source)
    assert contents(tmp_path / "out.zarr") == before


def test_output_that_was_made_differently_is_not_continued(
    explain: Explain, source: InMemory
) -> None:
    explain(source, made={"options": {"composite": "epsilon"}})
    with pytest.raises(InvalidInputError, match="options composite 'epsilon', not 'flat'"):
        explain(source, made={"options": {"composite": "flat"}}, resume=True)
    with pytest.raises(InvalidInputError, match="made with data '9 items"):
        other = InMemory(source.tensors[:4])
        explain(other, made={"options": {"composite": "epsilon"}}, resume=True)


@pytest.mark.parametrize("left", [None, b"", b'{"made": {'])
def test_output_without_a_journal_is_not_continued(
    explain: Explain, source: InMemory, tmp_path: Path, left: bytes | None
) -> None:
    explain(source)
    journal = tmp_path / "out.zarr.journal"
    journal.unlink() if left is None else journal.write_bytes(left)
    with pytest.raises(InvalidInputError, match=r"its journal out\.zarr\.journal is not"):
        explain(source, resume=True)
