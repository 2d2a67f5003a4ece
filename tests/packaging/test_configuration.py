"""setup.py says what it will build, meets wrong wishes with one sentence, and omits no file."""

from __future__ import annotations

import os
import platform
import runpy
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("csrc", "relprop", "setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE")
#: What setup.py reads of the environment, and what it finds there if a test does not say otherwise.
WISHES = {"RELPROP_CUDA": "0", "RELPROP_BINDINGS": "1", "MAX_JOBS": "1"}
UNSET = ("CXX", "CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST")


def copy_sources(tree: Path) -> Path:
    """What a source distribution holds, without anything built."""
    unbuilt = shutil.ignore_patterns("*.so", "__pycache__")
    tree.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, ignore=unbuilt)
        else:
            shutil.copy(ROOT / name, tree)
    return tree


def setup_in(tree: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run setup.py in a source tree, with some variables in the environment."""
    inherited = {name: value for name, value in os.environ.items() if name not in UNSET}
    return subprocess.run(
        [sys.executable, "setup.py", *arguments],
        cwd=tree,
        env={**inherited, **WISHES, **environment},
        capture_output=True,
        text=True,
    )


def files_in(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    return copy_sources(tmp_path / "source")


def test_it_says_what_it_will_build_and_lists_every_source(source_tree: Path) -> None:
    result = setup_in(source_tree, "-q", "egg_info")
    assert result.returncode == 0, result.stderr
    assert "relprop: torch 2." in result.stderr
    assert "; C++ compiler " in result.stderr
    assert "; CUDA off: RELPROP_CUDA=0" in result.stderr
    listed = (source_tree / "relprop.egg-info" / "SOURCES.txt").read_text().splitlines()
    for folder in ("csrc", "relprop"):
        sources = {f"{folder}/{name}" for name in files_in(source_tree / folder)}
        assert sources
        assert sources <= set(listed)


@pytest.mark.parametrize(
    ("wishes", "sentence"),
    [
        ({"RELPROP_CUDA": "yes"}, "RELPROP_CUDA must be auto, 0 or 1, got 'yes'"),
        ({"RELPROP_BINDINGS": "no"}, "RELPROP_BINDINGS must be 1 or 0, got 'no'"),
        (
            {"RELPROP_CUDA": "1", "CUDA_HOME": "/nonexistent"},
            "RELPROP_CUDA=1, but CUDA is off: no nvcc found (set CUDA_HOME)",
        ),
        ({"CXX": "/nonexistent/c++"}, "CXX names a compiler that is not there: /nonexistent/c++"),
    ],
)
def test_a_wrong_wish_ends_it_with_one_sentence(
    wishes: Mapping[str, str], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in UNSET:
        monkeypatch.delenv(name, raising=False)
    for name, value in {**WISHES, **wishes}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(ROOT / "setup.py"))
    assert ended.value.code == sentence


def test_without_torch_it_says_how_to_get_on(source_tree: Path, tmp_path: Path) -> None:
    (tmp_path / "torch.py").write_text("raise ImportError('no torch here')")
    result = setup_in(source_tree, "--version", PYTHONPATH=str(tmp_path))
    assert result.returncode != 0
    assert "torch could not be imported (no torch here). Install torch, then run: pip install " in (
        result.stderr
    )


def test_without_a_compiler_all_of_the_package_is_built_but_the_kernels(source_tree: Path) -> None:
    result = setup_in(source_tree, "-q", "build", "--build-lib", "built", PATH="/nonexistent")
    assert result.returncode == 0, result.stderr
    assert "C++ compiler none found: relprop will run on plain PyTorch" in result.stderr
    assert files_in(source_tree / "built" / "relprop") == files_in(source_tree / "relprop")


def leave_one_source(tree: Path, code: str) -> None:
    """Make a library of kernels of one short file."""
    for source in (tree / "csrc" / "cpu").glob("*.cpp"):
        source.unlink()
    (tree / "csrc" / "cpu" / "rescale.cpp").write_text(code)


def test_with_a_compiler_an_error_in_the_sources_is_an_error(source_tree: Path) -> None:
    leave_one_source(source_tree, "#error this does not compile\n")
    result = setup_in(source_tree, "build_ext", "--build-lib", "built")
    assert result.returncode != 0
    assert "this does not compile" in result.stdout + result.stderr


@pytest.mark.skipif(platform.system() != "Linux", reason="run paths are set as on Linux")
def test_libraries_for_others_hold_no_path_of_the_python_that_built_them(source_tree: Path) -> None:
    leave_one_source(source_tree, "int kernels() { return 0; }\n")
    linker = "c++ -shared -Wl,-rpath,/where/this/python/is"
    linkers = {"LDSHARED": linker, "LDCXXSHARED": linker}
    built = ("build_ext", "--build-lib", "built")
    result = setup_in(source_tree, *built, RELPROP_BINDINGS="0", **linkers)
    assert result.returncode == 0, result.stderr
    [library] = (source_tree / "built").rglob("*.so")
    assert library.name == "_cpu.abi3.so"
    assert b"/where/this/python/is" not in library.read_bytes()
