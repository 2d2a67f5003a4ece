import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from setup_run import Run

ROOT = Path(__file__).parents[2]


@pytest.fixture
def source_tree(tmp_path: Path) -> Path:
    """What a source distribution holds, without anything built."""
    tree = tmp_path / "source"
    unbuilt = shutil.ignore_patterns("*.so", "__pycache__")
    for folder in ("csrc", "relprop"):
        shutil.copytree(ROOT / folder, tree / folder, ignore=unbuilt)
    for name in ("setup.py", "pyproject.toml", "MANIFEST.in", "README.md", "LICENSE"):
        if (ROOT / name).exists():
            shutil.copy(ROOT / name, tree)
    (tree / "README.md").touch()
    return tree


@pytest.fixture
def setup(source_tree: Path) -> Run:
    """Run setup.py in the source tree, with these variables in the environment."""

    def run(*arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        inherited = {
            name: value
            for name, value in os.environ.items()
            if name not in ("CXX", "CUDA_HOME", "CUDA_PATH", "TORCH_CUDA_ARCH_LIST")
        }
        return subprocess.run(
            [sys.executable, "setup.py", *arguments],
            cwd=source_tree,
            env={**inherited, "RELPROP_CUDA": "0", **environment},
            capture_output=True,
            text=True,
        )

    return run
