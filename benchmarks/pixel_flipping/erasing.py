"""Erasing the most relevant regions first: Quantus' region perturbation (Samek et al. 2017)."""

from __future__ import annotations

import hashlib
import importlib
import math
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.pixel_flipping.curves import Curves
from relprop.baselines import blur
from relprop.cli.loading import first_line
from relprop.errors import InvalidInputError, MissingPackageError

EXPLAINERS = ("captum", "zennit")
"""What Quantus imports where it is installed, to make maps itself."""


def _mean(images: Tensor) -> Tensor:
    return images.mean((2, 3), keepdim=True).expand_as(images)


@dataclass(frozen=True)
class Fill:
    """What regions are replaced by: a function from images to images, and its name in a report."""

    title: str
    of: Callable[[Tensor], Tensor]


# A blur adds no edges and keeps colours and light, so that the network meets less that it has never
# seen than where a patch of one colour stands.
FILLS = {
    "blur": Fill("the photo out of focus (standard deviation 1/16 of its side)", blur),
    "mean": Fill("the photo's mean colour", _mean),
}


def quantus() -> Any:
    """The package, imported without the explainers, for which it has no use here.

    One of them imports torchvision, which may not match the torch that is there.

    Raises:
        MissingPackageError: it is not installed, or without something that it needs.
    """
    hidden = [name for name in EXPLAINERS if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # a module that is None cannot be found
    try:
        return importlib.import_module("quantus")
    except ImportError as fault:
        raise MissingPackageError(
            f"this needs quantus, which cannot be imported ({first_line(fault)}): run make flipping"
        ) from None
    finally:
        for name in hidden:
            del sys.modules[name]


class Remembering(nn.Module):
    """A network that computes no batch twice: Quantus asks for logits and for probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network
        self._logits: dict[bytes, Tensor] = {}
        self.eval()

    def forward(self, x: Tensor) -> Tensor:
        key = hashlib.sha256(x.numpy(force=True).tobytes()).digest()
        if key not in self._logits:
            self._logits[key] = self.network(x)
        return self._logits[key]

    def forget(self) -> None:
        """Make room for others."""
        self._logits.clear()


class Eraser:
    """Erases regions of photos in the order of a map, and asks the network after each.

    Args:
        network: from images, shape (N, C, H, W), to logits, shape (N, K); in evaluation mode.
        images: the photos, float32.
        classes: whose score is followed, shape (N,).
        patch: the side of a region, which must divide H and W.
        share: of the regions, how many are erased, more than 0 and up to 1.
        fill: a name in `FILLS`.

    Raises:
        InvalidInputError: `patch` does not divide the photos into regions, or `share` is no share.
        MissingPackageError: Quantus is not installed.
    """

    def __init__(
        self,
        network: nn.Module,
        images: Tensor,
        classes: Tensor,
        *,
        patch: int,
        share: float = 1.0,
        fill: str = "blur",
    ) -> None:
        height, width = images.shape[2:]
        if patch < 1 or height % patch or width % patch:
            raise InvalidInputError(
                f"the side of a region must divide {height} and {width}, the photos' height and "
                f"width in pixels; got {patch}"
            )
        if not 0 < share <= 1:
            raise InvalidInputError(
                f"the share of a photo to erase must be more than 0 and at most 1; got {share}"
            )
        regions = (height // patch) * (width // patch)
        self.erased = math.ceil(share * regions) / regions
        """The share that is erased at the end."""
        self._network = Remembering(network)
        self._images, self._classes = images.numpy(), classes.numpy()
        self._metric = quantus().RegionPerturbation(
            patch_size=patch,
            order="morf",
            regions_evaluation=math.ceil(share * regions),
            normalise=False,
            perturb_func=_replace,
            perturb_func_kwargs={"replacement": FILLS[fill].of(images).flatten(1).numpy()},
            disable_warnings=True,
        )

    def curves(self, maps: Tensor) -> Curves:
        """The scores while the regions of the largest sum in `maps`, (N, 1, H, W), go first."""
        found = Curves(probability=self._scores(maps, True), logit=self._scores(maps, False))
        self._network.forget()
        return found

    def _scores(self, maps: Tensor, softmax: bool) -> Tensor:
        with warnings.catch_warnings():
            # of regions that are as they were: a blurred sky is a sky
            warnings.filterwarnings("ignore", message=".*didn't cause change in input")
            falls = self._metric(
                self._network,
                self._images,
                self._classes,
                maps.numpy(),
                channel_first=True,
                softmax=softmax,
                batch_size=len(self._images),
            )
        intact = self._intact(softmax)
        return torch.cat([intact, intact - torch.from_numpy(np.stack(falls))], 1)

    def _intact(self, softmax: bool) -> Tensor:
        """Of the whole photos, shape (N, 1): Quantus tells only how far scores fall from there."""
        with torch.no_grad():
            scores = self._network(torch.from_numpy(self._images))
        scores = scores.softmax(1) if softmax else scores
        return scores.gather(1, torch.from_numpy(self._classes)[:, None])


def _replace(arr: Any, indices: Any, replacement: Any, **_: Any) -> Any:
    """Rows of `arr`, (N, C * H * W), with those of `replacement` at `indices`, shape (N, I)."""
    erased = arr.copy()
    rows = np.arange(len(arr))[:, None]
    erased[rows, indices] = replacement[rows, indices]
    return erased
