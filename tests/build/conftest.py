import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setup_run import Run

ROOT = Path(__file__).parents[2]


def copy_sources(tree: Path) -> Path:
    """What a source distribution holds, without anything built."""
    unbuilt = shutil.ignore_patterns("*.so", "__pycache__")
    for folder in ("csrc", "relprop"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=unbuilt)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    (tree / "README.md").touch()
    return tree


def setup_in(tree: Path) -> Run:
    """Runs setup.py in a source tree, with some variables in the environment."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("CXX", "CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST")
        }
        return subprocess.run(
            [sys.executable, "setup.py", *arguments],
            cwd=tree,
            env={**inherited, "RELPROP_CUDA": "0", **environment},
            capture_output=True,
            text=True,
        )

    return run


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """A source tree for one test."""
    return copy_sources(tmp_path / "source")


@pytest.fixture
def setup(source_tree: Path) -> Run:
    """Run setup.py in the test's source tree."""
    return setup_in(source_tree)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that RELPROP_WHEEL names, or one that is built as wheels for others are."""
    given = os.environ.get("RELPROP_WHEEL")
    if given:
        return Path(given)
    tree = copy_sources(tmp_path_factory.mktemp("release") / "source")
    built = setup_in(tree)("-q", "bdist_wheel", RELPROP_BINDINGS="0")
    assert built.returncode == 0, built.stderr
    return next((tree / "dist").iterdir())
