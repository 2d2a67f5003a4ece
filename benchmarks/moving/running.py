"""Running the script in a fresh process, with its attributions timed and kept."""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

import torch

from benchmarks.cost.fresh import Say, in_fresh_process
from benchmarks.torchvision_operators import define_torchvision_operators

ATTRIBUTORS = {
    "zennit": "zennit.attribution",
    "relprop.compat.zennit": "relprop.compat.zennit.attributor",
}


def run(package: str, script: Path, arguments: Sequence[str]) -> dict[str, Any]:
    """Seconds of the process and of its attributions, and their relevance, summed over channels."""
    begun = time.perf_counter()
    found: dict[str, Any] = in_fresh_process(attributions, package, str(script), tuple(arguments))
    return {**found, "process": time.perf_counter() - begun}


def attributions(package: str, script: str, arguments: Sequence[str], _: Say) -> dict[str, Any]:
    """Run the script as if it had been called by its name."""
    define_torchvision_operators()
    attributor = import_module(ATTRIBUTORS[package]).Attributor
    seconds: list[float] = []
    relevance: list[torch.Tensor] = []
    attributor.__call__ = _timed(attributor.__call__, seconds, relevance)
    sys.argv = [script, *arguments]
    with contextlib.suppress(SystemExit), contextlib.redirect_stdout(io.StringIO()):
        runpy.run_path(script, run_name="__main__")
    return {"attribution": sum(seconds), "relevance": torch.cat(relevance).numpy()}


def _timed(
    call: Callable[..., Any], seconds: list[float], relevance: list[torch.Tensor]
) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        output, found = call(*arguments, **options)
        seconds.append(time.perf_counter() - begun)
        relevance.append(found.detach().sum(1))
        return output, found

    return timed
