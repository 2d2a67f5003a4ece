"""What the libraries of kernels hold and need: of torch the stable ABI, and nothing of Python."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from relprop.ops.library import library_path

ROOT = Path(__file__).parents[2]

#: What the CUDA library takes from a torch with CUDA, beyond what every torch has.
CUDA_ONLY = {
    "aoti_torch_get_current_cuda_stream",
    "torch_c10_cuda_check_msg",
    "torch_c10_cuda_free_error_msg",
}

# Loads the library into a torch without CUDA, and says which operators it serves there.
LOAD_WITH_STUB = """
import ctypes, sys, torch
from relprop.ops import backends
if not torch.version.cuda:
    ctypes.CDLL(sys.argv[1], mode=ctypes.RTLD_GLOBAL)
    torch.ops.load_library(sys.argv[2])
for row in backends().rows:
    if row.device == "cuda" and row.serves == "native":
        print(row.operator)
"""

needs_nm = pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")


def symbols(library: Path, *flags: str) -> list[str]:
    answer = subprocess.run(
        ["nm", *flags, str(library)], capture_output=True, text=True, check=True
    )
    return answer.stdout.splitlines()


def of_torch(lines: list[str]) -> set[str]:
    names = {line.split()[-1].split("@")[0] for line in lines}
    return {name for name in names if name.startswith(("aoti_torch", "torch_"))}


def built(name: str, word: str) -> Path:
    library = library_path(name)
    if not library.exists():
        pytest.skip(f"no {library.name} is built here: `make {word}` builds it")
    return library


@pytest.fixture
def cpu_library() -> Path:
    return built("_cpu", "build")


@pytest.fixture
def cuda_library() -> Path:
    return built("_cuda", "cuda")


@needs_nm
@pytest.mark.skipif(platform.machine() != "x86_64", reason="clones are for x86-64")
@pytest.mark.skipif(platform.system() != "Linux", reason="clones need glibc")
def test_loops_are_compiled_for_every_instruction_set(cpu_library: Path) -> None:
    names = [line.split()[-1] for line in symbols(cpu_library)]
    for loop in ("ratio_loop", "rescale_loop", "challenge"):
        clones = [name for name in names if loop in name]
        for instruction_set in ("arch_x86_64_v4", "arch_x86_64_v3", "default"):
            assert any(name.endswith(instruction_set) for name in clones)


@needs_nm
@pytest.mark.parametrize("library", ["cpu_library", "cuda_library"])
def test_a_library_needs_the_stable_abi_of_torch_and_no_python(
    library: str, request: pytest.FixtureRequest
) -> None:
    undefined = symbols(request.getfixturevalue(library), "-D", "--undefined-only")
    names = {line.split()[-1] for line in undefined}
    assert not any(name.startswith(("Py", "_Py")) for name in names)
    assert not any(name.startswith(("_ZN3c10", "_ZN2at", "_ZN5torch")) for name in names)
    assert of_torch(undefined)


@needs_nm
def test_the_cuda_library_needs_three_symbols_beyond_those_of_a_torch_without_cuda(
    cuda_library: Path,
) -> None:
    needed = of_torch(symbols(cuda_library, "-D", "--undefined-only"))
    torch_cpu = Path(torch.__file__).parent / "lib" / "libtorch_cpu.so"
    offered = of_torch(symbols(torch_cpu, "-D", "--defined-only"))
    assert needed - offered == CUDA_ONLY


def stub_of_cuda_torch(folder: Path) -> Path:
    """A library that defines what a torch without CUDA lacks."""
    stub = folder / "stub.so"
    source = "\n".join(f"int {name}(void) {{ return 1; }}" for name in sorted(CUDA_ONLY))
    compile_c = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(stub)]
    subprocess.run(compile_c, input=source, text=True, check=True)
    return stub


@pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler")
def test_the_cuda_library_serves_every_operator_of_its_sources(
    cuda_library: Path, tmp_path: Path
) -> None:
    sources = (ROOT / "csrc" / "cuda").glob("*.cu")
    code = "".join(source.read_text(encoding="utf-8") for source in sources)
    served = subprocess.run(
        [sys.executable, "-c", LOAD_WITH_STUB, str(stub_of_cuda_torch(tmp_path)), cuda_library],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert served.returncode == 0, served.stderr
    assert set(served.stdout.split()) == set(re.findall(r'm\.impl\("(\w+)"', code))
