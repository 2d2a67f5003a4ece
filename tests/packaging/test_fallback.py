import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

from relprop.ops import backends

ROOT = Path(__file__).parents[2]


def probe(folder: Path, **environment: str) -> tuple[list[Tensor], list[str]]:
    """The operators' results and what served them, in a process of its own."""
    saved = folder / "results.pt"
    result = subprocess.run(
        [sys.executable, str(Path(__file__).parent / "fallback_probe.py"), str(saved)],
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        check=True,
    )
    return torch.load(saved), result.stdout.splitlines()


def test_plain_pytorch_gives_the_same_and_says_so(tmp_path: Path) -> None:
    if backends().serving("rescale", "cpu").serves != "native":
        pytest.skip("the CPU kernels are not built")
    results, served = probe(tmp_path, RELPROP_NATIVE="0")
    native_results, native_served = probe(tmp_path, RELPROP_NATIVE="1")
    assert all(line.endswith("reference RELPROP_NATIVE=0 is set") for line in served)
    native = {line.strip() for line in native_served if line.startswith("cpu")}
    assert native == {"cpu native", "cpu reference the library has no kernel for it"}
    for plain, ours in zip(results, native_results, strict=True):
        torch.testing.assert_close(plain, ours, rtol=1e-14, atol=1e-14)
