"""Pictures: reading them, cutting out what a model sees, and turning that into a tensor."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from relprop.errors import RelpropError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CROP_FRACTION = 0.875
"""What ImageNet evaluation keeps of the shorter side: 224 of 256 pixels."""


# `read_picture` refuses what Pillow would warn of. Threads read pictures, and share their filters:
# one that is set for a while only would meet others.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class PictureError(RelpropError, ValueError):
    """A file cannot be used as a picture."""


def read_picture(path: Path) -> Image.Image:
    """The picture in a file, upright, as "RGB", with transparent parts shown on white.

    Raises:
        PictureError: the file is missing, unreadable, cut short, too large, or no picture.
    """
    try:
        with Image.open(path) as picture:
            if picture.width * picture.height > (Image.MAX_IMAGE_PIXELS or math.inf):
                raise Image.DecompressionBombError
            picture.load()
            return _as_rgb(ImageOps.exif_transpose(picture))
    except FileNotFoundError:
        raise PictureError(f"{path}: there is no such file") from None
    except IsADirectoryError:
        raise PictureError(f"{path}: is a folder, not a picture") from None
    except PermissionError:
        raise PictureError(f"{path}: may not be read (permission denied)") from None
    except UnidentifiedImageError:
        raise PictureError(f"{path}: is not a picture in any format that Pillow knows") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise PictureError(
            f"{path}: has more than {Image.MAX_IMAGE_PIXELS:,} pixels; make it smaller first"
        ) from None
    except (
        OSError,
        SyntaxError,
        ValueError,
        EOFError,
    ) as fault:  # what Pillow's decoders raise for damaged files
        raise PictureError(f"{path}: is damaged or cut short ({fault})") from None


def _as_rgb(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I"):  # 16 bits a pixel, which convert() would clip
        values = np.asarray(picture, dtype=np.float64) / 257
        picture = Image.fromarray(values.clip(0, 255).round().astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("RGB")


@dataclass(frozen=True)
class Preprocessing:
    """What a model expects: a square of `size` pixels, values `(v - mean) / std` for v in 0..1.

    Without a size, pictures keep theirs. `mean` and `std` hold one number a channel: three for
    colour, one for grey.
    """

    size: int | None = 224
    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD

    def crop(self, picture: Image.Image) -> Image.Image:
        """The middle of the picture, its shorter side being `size / CROP_FRACTION` pixels."""
        if self.size is None:
            return picture
        scale = self.size / CROP_FRACTION / min(picture.size)
        width, height = (max(self.size, round(side * scale)) for side in picture.size)
        left, top = (width - self.size) // 2, (height - self.size) // 2
        resized = picture.resize((width, height), Image.Resampling.BICUBIC)
        return resized.crop((left, top, left + self.size, top + self.size))

    def tensor(self, crop: Image.Image) -> Tensor:
        """The crop as a batch of one, shape (1, C, H, W), float32."""
        pixels = np.array(crop.convert("RGB" if len(self.mean) == 3 else "L"), dtype=np.float32)
        pixels /= 255
        values = (
            torch.from_numpy(pixels).reshape(*pixels.shape[:2], len(self.mean)).permute(2, 0, 1)
        )
        return self._normalised(values).unsqueeze(0)

    def bounds(self) -> tuple[Tensor, Tensor]:
        """What black and white become, each of shape (1, C, 1, 1)."""
        black = torch.zeros(1, len(self.mean), 1, 1)
        return self._normalised(black), self._normalised(black + 1)

    def _normalised(self, values: Tensor) -> Tensor:
        mean, std = (torch.tensor(numbers).view(-1, 1, 1) for numbers in (self.mean, self.std))
        return (values - mean).div_(std)


@dataclass(frozen=True)
class Decoder:
    """Reads pictures as inputs of a model, shape (C, H, W)."""

    preprocessing: Preprocessing
    dtype: torch.dtype

    def __call__(self, path: Path) -> Tensor:
        """The picture in a file.

        Raises:
            PictureError: it cannot be used.
        """
        crop = self.preprocessing.crop(read_picture(path))
        return self.preprocessing.tensor(crop)[0].to(self.dtype)
