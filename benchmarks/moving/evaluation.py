"""One evaluation by Quantus in a fresh process, with its own `explain` or with ours."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from benchmarks.cost import networks
from benchmarks.cost.fresh import Say, in_fresh_process
from benchmarks.pixel_flipping.photos import load_photos
from relprop.cli.zoo import BUILT_IN

QUANTUS, OURS = "quantus", "relprop.compat.quantus"
NETWORK = "VGG16"
PHOTOS = 4


def evaluate(package: str, method: str) -> dict[str, Any]:
    """Seconds of the evaluation and of the explanations in it, and the scores by metric."""
    found: dict[str, Any] = in_fresh_process(evaluation, package, method)
    return found


def evaluation(package: str, method: str, _: Say) -> dict[str, Any]:
    """What is the same whoever explains is said once; `explain_func` is all that differs."""
    model = networks.build(NETWORK)  # first: it sees to it that torchvision can be imported
    import quantus

    if package == QUANTUS:
        from quantus import explain as explain_func
    else:
        from relprop.compat.quantus import explain_func

    photos = load_photos(BUILT_IN["efficientnet-lite0"].preprocessing)
    seconds: list[float] = []
    np.random.seed(0)
    begun = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scores = quantus.evaluate(
            metrics={
                "sparseness": quantus.Sparseness(disable_warnings=True),
                "sensitivity": quantus.MaxSensitivity(nr_samples=5, disable_warnings=True),
                "flipping": quantus.PixelFlipping(features_in_step=224 * 14, disable_warnings=True),
            },
            xai_methods={method: _timed(explain_func, seconds)},
            model=model,
            x_batch=photos.images[:PHOTOS].numpy(),
            y_batch=photos.classes[:PHOTOS].numpy(),
            explain_func_kwargs={},
        )[method]
    return {
        "evaluation": time.perf_counter() - begun,
        "explanations": sum(seconds),
        "scores": {name: np.ravel(found).astype(float).tolist() for name, found in scores.items()},
    }


def _timed(explain: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **options: Any) -> Any:
        begun = time.perf_counter()
        found = explain(*arguments, **options)
        seconds.append(time.perf_counter() - begun)
        return found

    return timed
