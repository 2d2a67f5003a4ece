"""What a result depends on besides the code that it measures: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path

import torch

import relprop

REPOSITORY = Path(__file__).resolve().parent.parent


def stamp() -> dict[str, str]:
    """Facts that are the same whenever the same code runs on the same machine."""
    return {
        "relprop": relprop.__version__,
        "commit": commit(),
        "torch": torch.__version__,
        "Python": platform.python_version(),
        "CPU": f"{cpu()}, {torch.get_num_threads()} threads",
    }


def commit() -> str:
    """The commit that is checked out, and whether files differ from it."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(REPOSITORY), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "*.py", "csrc")
        return git("rev-parse", "--short=12", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def cpu() -> str:
    """The processor's name."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()
