import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from setup_run import Run

ROOT = Path(__file__).parents[2]
CUDA_HOME = Path(os.environ.get("CUDA_HOME") or "/usr/local/cuda")

# What the CUDA library takes from a torch with CUDA, beyond what every torch has.
CUDA_ONLY = {
    "aoti_torch_get_current_cuda_stream",
    "torch_c10_cuda_check_msg",
    "torch_c10_cuda_free_error_msg",
}


def symbols(library: Path, *flags: str) -> list[str]:
    answer = subprocess.run(
        ["nm", *flags, str(library)], capture_output=True, text=True, check=True
    )
    return answer.stdout.splitlines()


def of_torch(lines: list[str]) -> set[str]:
    names = {line.split()[-1].split("@")[0] for line in lines}
    return {name for name in names if name.startswith(("aoti_torch", "torch_"))}


needs_nm = pytest.mark.skipif(shutil.which("nm") is None, reason="no nm")


@pytest.fixture
def cpu_library() -> Path:
    library = ROOT / "relprop" / "_cpu.abi3.so"
    if not library.exists():
        pytest.skip("the CPU kernels are not built here")
    return library


@needs_nm
@pytest.mark.skipif(platform.machine() != "x86_64", reason="clones are for x86-64")
@pytest.mark.skipif(platform.system() != "Linux", reason="clones need glibc")
@pytest.mark.parametrize("loop", ["ratio_loop", "rescale_loop", "challenge"])
def test_loops_are_compiled_for_every_instruction_set(cpu_library: Path, loop: str) -> None:
    clones = [line for line in symbols(cpu_library) if loop in line]
    for instruction_set in ("arch_x86_64_v4", "arch_x86_64_v3", "default"):
        assert any(line.split()[-1].endswith(instruction_set) for line in clones)


@needs_nm
def test_cpu_library_needs_the_stable_abi_of_torch_and_no_python(cpu_library: Path) -> None:
    undefined = symbols(cpu_library, "-D", "--undefined-only")
    names = {line.split()[-1] for line in undefined}
    assert not any(name.startswith(("Py", "_Py")) for name in names)
    assert not any(name.startswith(("_ZN3c10", "_ZN2at", "_ZN5torch")) for name in names)
    assert of_torch(undefined)


@pytest.fixture(scope="module")
def cuda_home() -> Path:
    if (CUDA_HOME / "bin" / "nvcc").exists():
        return CUDA_HOME
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        pytest.skip("no nvcc")
    return Path(nvcc).resolve().parent.parent


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


def stub_of_cuda_torch(folder: Path) -> Path:
    """A library that defines what a torch without CUDA lacks."""
    stub = folder / "stub.so"
    source = "\n".join(f"int {name}(void) {{ return 1; }}" for name in sorted(CUDA_ONLY))
    compile_c = ["cc", "-shared", "-fPIC", "-x", "c", "-", "-o", str(stub)]
    subprocess.run(compile_c, input=source, text=True, check=True)
    return stub


@pytest.mark.slow
@needs_nm
def test_cuda_library_compiles_and_needs_three_symbols_beyond_cpu_torch(
    setup: Run, source_tree: Path, cuda_home: Path
) -> None:
    result = setup("build_ext", "--build-lib", "built", RELPROP_CUDA="1", CUDA_HOME=str(cuda_home))
    assert result.returncode == 0, result.stderr
    library = source_tree / "built" / "relprop" / "_cuda.abi3.so"
    needed = of_torch(symbols(library, "-D", "--undefined-only"))
    folder = Path(torch.__file__).parent / "lib"
    offered = of_torch(symbols(folder / "libtorch_cpu.so", "-D", "--defined-only"))
    assert needed - offered == CUDA_ONLY

    served = subprocess.run(
        [sys.executable, "-c", LOAD_WITH_STUB, str(stub_of_cuda_torch(source_tree)), str(library)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )
    assert served.returncode == 0, served.stderr
    sources = (ROOT / "csrc" / "cuda").glob("*.cu")
    registered = [re.findall(r'm\.impl\("(\w+)"', source.read_text()) for source in sources]
    assert set(served.stdout.split()) == {name for found in registered for name in found}
