"""An explanation that was killed and continued leaves what an undisturbed one does."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import relprop
from relprop.errors import InvalidInputError, StorageError
from relprop.graph.intervals import Box
from relprop.large import LargeExplanation, explain_large
from tests.large.budgets import in_stages
from tests.large.conftest import Image
from tests.tiling.image_networks import network


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def failing(call: int, fault: BaseException) -> Iterator[list[int]]:
    """Raises a fault where the disk is waited for the so-manieth time, and ever after."""
    calls: list[int] = []

    def fsync(handle: int) -> None:
        calls.append(handle)
        if len(calls) >= call:
            raise fault

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield calls


@dataclass
class Counted:
    """An image that counts how often it is read."""

    image: Image
    name = "the scene"
    reads: list[Box] = field(default_factory=list)

    @property
    def shape(self) -> tuple[int, ...]:
        return self.image.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.image.dtype

    def window(self, box: Box) -> NDArray[Any]:
        self.reads.append(box)
        (top, bottom), (left, right) = box
        return self.image[:, top:bottom, left:right]


@pytest.fixture(scope="module")
def lrp() -> relprop.LRP:
    return relprop.LRP(network("ResNet"), "epsilon_plus")


@pytest.fixture
def source(scene: Image) -> Counted:
    return Counted(scene)


@pytest.fixture
def explain(lrp: relprop.LRP, source: Counted, tmp_path: Path) -> Any:
    budget = in_stages(lrp, source).budget

    def run(name: str, resume: bool = False, **options: Any) -> LargeExplanation:
        options = {"target": 1, "memory_budget": budget, "chunk": 32} | options
        return explain_large(lrp, source, tmp_path / name, resume=resume, **options)

    return run


def contents(path: Path) -> dict[str, bytes]:
    """Every file of a folder, or the one file."""
    files = [file for file in path.rglob("*") if file.is_file()] if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files}


KILLED_AGAIN_AND_AGAIN = """\
import os, signal, sys
from pathlib import Path
import numpy as np
import torch
import relprop
from relprop.attribution.tiling import chain
from relprop.large import explain_large
from tests.large.budgets import in_stages
from tests.tiling.image_networks import network

torch.set_num_threads(1)
chain.STORED = 0  # so that there are several stages
scene = np.random.default_rng(0).normal(size=(3, 75, 62))
deep_lift = relprop.DeepLift(network("EfficientNet-Lite"), "reveal_cancel")
budget = in_stages(deep_lift, scene).budget

def in_a_child(name, calls):
    child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    torch.set_num_threads(1)  # renews torch's pool before autograd's threads race to do so
    left = [calls]
    def fsync(handle):
        left[0] -= 1
        if not left[0]:
            os.kill(os.getpid(), signal.SIGKILL)
    os.fsync = fsync
    explain_large(deep_lift, scene, name, 1, memory_budget=budget, chunk=32, resume=True)
    os._exit(0)

total = 0
for name in sys.argv[1:]:
    assert in_a_child("undisturbed" + name, 100000) == 0
    killed, calls = 0, 9
    while in_a_child("killed" + name, calls) == -signal.SIGKILL:
        killed, calls = killed + 1, 9 + (7 * calls) % 11
    assert killed > 2
    total += killed
assert total >= 10
"""


def test_killed_again_and_again(tmp_path: Path) -> None:
    pytest.importorskip("zarr")
    pytest.importorskip("tifffile")
    root = Path(__file__).parents[2]
    names = [".npy", ".zarr", ".ome.tif"]
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", KILLED_AGAIN_AND_AGAIN, *names],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(root)},
    )
    assert ended.returncode == 0, ended.stderr
    for name in names:
        killed, undisturbed = tmp_path / f"killed{name}", tmp_path / f"undisturbed{name}"
        assert contents(killed) == contents(undisturbed)
    assert len(list(tmp_path.iterdir())) == 2 * len(names)


def test_cut_off_wherever_it_waits_for_the_disk(explain: Any, tmp_path: Path) -> None:
    with failing(10**6, Killed()) as calls:
        whole = explain("whole.npy")
    step = len(calls) // 9
    for call in range(1, len(calls) + 1, step):
        name = f"cut-off-{call}.npy"
        with failing(call, Killed()), pytest.raises(Killed):
            explain(name)
        assert not (tmp_path / name).exists()
        found = explain(name, resume=True)
        assert (found.score, found.sum) == (whole.score, whole.sum)
        assert contents(tmp_path / name) == contents(tmp_path / "whole.npy")


def test_what_was_done_is_not_done_again(explain: Any, source: Counted) -> None:
    source.reads.clear()
    with failing(10**6, Killed()) as calls:
        explain("whole.npy")
    undisturbed = len(source.reads)
    source.reads.clear()
    for call in (len(calls) // 4, len(calls) // 3):
        with failing(call, Killed()), pytest.raises(Killed):
            explain("R.npy", resume=True)
    explain("R.npy", resume=True)
    # Every run looks at the corner once, and every killed one was at a tile.
    assert len(source.reads) <= undisturbed + 2 * 2


def test_killed_between_the_last_line_and_the_name(
    explain: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = explain("whole.npy")

    def killed(*_: object) -> None:
        raise Killed

    for module, function in ((Path, "rename"), (sys.modules["shutil"], "rmtree")):
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(module, function, killed)
            explain("R.npy", resume=True)
    assert explain("R.npy", resume=True).sum == whole.sum
    assert contents(tmp_path / "R.npy") == contents(tmp_path / "whole.npy")
    assert not (tmp_path / "R.npy.unfinished").exists()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": 2}, "begun with target 1, not 2"),
        ({"chunk": 16}, "begun with chunk 32, not 16"),
        ({"memory_budget": "1GiB"}, "begun with tiles"),
    ],
)
def test_what_was_begun_otherwise_is_not_continued(
    options: dict[str, Any], words: str, explain: Any
) -> None:
    with failing(10**6, Killed()) as calls:
        explain("whole.npy")
    with failing(3 * len(calls) // 4, Killed()), pytest.raises(Killed):
        explain("R.npy")
    with pytest.raises(InvalidInputError, match=words):
        explain("R.npy", resume=True, **options)


def test_other_weights_and_rules_are_not_continued(
    scene: Image, lrp: relprop.LRP, explain: Any, tmp_path: Path
) -> None:
    with failing(8, Killed()), pytest.raises(Killed):
        explain("R.npy", memory_budget="64MiB")
    other = relprop.LRP(network("ResNet"), "epsilon")
    with pytest.raises(InvalidInputError, match="begun with rules"):
        explain_large(
            other,
            Counted(scene),
            tmp_path / "R.npy",
            1,
            memory_budget="64MiB",
            chunk=32,
            resume=True,
        )


def test_an_interrupted_explanation_is_not_begun_anew(explain: Any) -> None:
    with failing(20, Killed()), pytest.raises(Killed):
        explain("R.npy")
    with pytest.raises(InvalidInputError, match=r"was interrupted; continue it with --resume"):
        explain("R.npy")


@pytest.mark.parametrize("resume", [False, True])
def test_an_output_that_exists_is_not_touched(explain: Any, tmp_path: Path, resume: bool) -> None:
    (tmp_path / "R.npy").write_text("mine")
    with pytest.raises(InvalidInputError, match="exists already"):
        explain("R.npy", resume=resume)
    assert (tmp_path / "R.npy").read_text() == "mine"


def test_one_process_writes_an_output(explain: Any, tmp_path: Path) -> None:
    with failing(20, Killed()), pytest.raises(Killed):
        explain("R.npy")
    with (tmp_path / "R.npy.unfinished" / "journal").open("rb") as journal:
        fcntl.flock(journal, fcntl.LOCK_EX)
        with pytest.raises(InvalidInputError, match="is being written by another process"):
            explain("R.npy", resume=True)


def test_a_full_disk_is_one_sentence(explain: Any, tmp_path: Path) -> None:
    whole = explain("whole.npy")
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with failing(30, full), pytest.raises(StorageError, match="No space left on device"):
        explain("R.npy")
    assert explain("R.npy", resume=True).sum == whole.sum
