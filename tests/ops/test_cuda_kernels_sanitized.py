"""The CUDA kernels on the host: in bounds, defined, and every element with one writer."""

import os
import platform
import shutil
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent
COMPILER = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
FLAGS = ["-std=c++20", "-O1", "-g1", "-pthread", "-fno-sanitize-recover=all"]


@pytest.mark.slow
@pytest.mark.skipif(platform.system() != "Linux", reason="sanitizers are there on Linux")
@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@pytest.mark.parametrize("name", ["cuda_sanitized", "convolution_sanitized"])
def test_kernels_are_clean_at_awkward_sizes(name: str, sanitizers: str, tmp_path: Path) -> None:
    if COMPILER is None:
        pytest.skip("no C++ compiler")
    program = str(tmp_path / "sanitized")
    includes = [f"-I{HERE.parents[1] / 'csrc'}", f"-I{HERE}"]
    sanitized = [*COMPILER.split(), *FLAGS, f"-fsanitize={sanitizers}", *includes]
    source = str(HERE / f"{name}.cpp")
    built = subprocess.run([*sanitized, source, "-o", program], capture_output=True, text=True)
    if "cannot find" in built.stderr:
        pytest.skip(f"no library of the {sanitizers} sanitizer")
    assert built.returncode == 0, built.stderr
    # Where addresses are laid out at random in too large a space, the thread sanitizer gives up.
    command = [*(["setarch", "-R"] if shutil.which("setarch") else []), program]
    answer = subprocess.run(command, capture_output=True, text=True)
    if "unexpected memory mapping" in answer.stderr or "personality" in answer.stderr:
        pytest.skip("the sanitizer cannot run here")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert answer.stdout == "0 results not written\n"
