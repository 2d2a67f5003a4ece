"""What a wheel for others holds: it is for every Python, with all of the package and no more."""

from __future__ import annotations

import email
import os
import re
import shutil
import subprocess
import zipfile
from email.message import Message
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
#: Libraries that every Linux has, and torch's own, which are loaded before ours.
OF_SYSTEM = {"libc.so.6", "libm.so.6", "libstdc++.so.6", "libgcc_s.so.1", "ld-linux-x86-64.so.2"}
OF_TORCH = {"libc10.so", "libtorch.so", "libtorch_cpu.so", "libc10_cuda.so", "libtorch_cuda.so"}
pytestmark = pytest.mark.skipif(
    "RELPROP_WHEEL" not in os.environ, reason="RELPROP_WHEEL names no wheel: `make wheel` sets it"
)


@pytest.fixture(scope="module")
def wheel() -> Path:
    return Path(os.environ["RELPROP_WHEEL"])


@pytest.fixture(scope="module")
def names(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as opened:
        return set(opened.namelist())


@pytest.fixture(scope="module")
def metadata(wheel: Path, names: set[str]) -> Message:
    [name] = [name for name in names if name.endswith(".dist-info/METADATA")]
    with zipfile.ZipFile(wheel) as opened:
        return email.message_from_bytes(opened.read(name))


def test_it_is_for_every_python_from_3_10_of_its_platform(wheel: Path) -> None:
    assert re.search(r"-cp310-abi3-\w+\.whl$", wheel.name)
    assert not wheel.name.endswith("-any.whl")


def test_it_holds_the_kernels_and_no_module_for_one_python_alone(names: set[str]) -> None:
    libraries = {name for name in names if name.endswith((".so", ".pyd", ".dll"))}
    assert "relprop/_cpu.abi3.so" in libraries
    assert libraries <= {"relprop/_cpu.abi3.so", "relprop/_cuda.abi3.so"}


def test_it_holds_all_of_the_package_and_nothing_else(names: set[str]) -> None:
    files = {path for path in (ROOT / "relprop").rglob("*") if path.is_file()}
    sources = {path for path in files if path.suffix in (".py", ".html", ".css", ".js", ".typed")}
    wanted = {str(path.relative_to(ROOT)) for path in sources}
    assert "relprop/py.typed" in wanted
    inside = {name for name in names if not name.endswith((".so", "/"))}
    assert {name for name in inside if ".dist-info/" not in name} == wanted


def test_it_says_its_licence_and_holds_it(wheel: Path, names: set[str], metadata: Message) -> None:
    [name] = [name for name in names if name.rpartition("/")[2] == "LICENSE"]
    with zipfile.ZipFile(wheel) as opened:
        assert opened.read(name) == (ROOT / "LICENSE").read_bytes()
    assert "MIT" in (metadata["License-Expression"] or metadata["License"])


def test_it_asks_for_what_pyproject_asks_for(metadata: Message) -> None:
    tomllib = pytest.importorskip("tomllib")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert metadata["Version"] == project["version"]
    assert metadata["Requires-Python"] == project["requires-python"]
    required = [one for one in metadata.get_all("Requires-Dist", []) if "extra ==" not in one]
    assert sorted(required) == sorted(project["dependencies"])


@pytest.mark.skipif(shutil.which("objdump") is None, reason="no objdump")
def test_its_libraries_need_torch_and_the_system_alone(
    wheel: Path, names: set[str], tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheel) as opened:
        libraries = [opened.extract(name, tmp_path) for name in names if name.endswith(".so")]
    for library in libraries:
        headers = subprocess.run(
            ["objdump", "-p", library], capture_output=True, text=True, check=True
        ).stdout
        needed = set(re.findall(r"NEEDED +(\S+)", headers))
        assert needed <= OF_SYSTEM | OF_TORCH | {"librt.so.1", "libdl.so.2", "libpthread.so.0"}
        assert "RUNPATH" not in headers
        assert "RPATH" not in headers
