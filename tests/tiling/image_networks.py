"""Small networks for images, one of each kind that is explained by tiles."""

from __future__ import annotations

import functools
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def _settled(model: nn.Module) -> nn.Module:
    """With statistics in its batch norms as training leaves them; in float64."""
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean = torch.randn(module.num_features) / 4
            module.running_var = torch.rand(module.num_features) + 0.5
    return model.double().eval()


def _norm(channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels)


def vgg() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 3, padding=1), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1), nn.ReLU()),
        *(nn.MaxPool2d(2), nn.Conv2d(6, 8, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.AdaptiveAvgPool2d(3), nn.Flatten(), nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 4)),
    )


class Residual(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(given, made, 3, stride, 1), _norm(made), nn.ReLU())
        self.second = nn.Sequential(nn.Conv2d(made, made, 3, 1, 1), _norm(made))
        self.shortcut = nn.Identity() if stride == 1 else nn.Conv2d(given, made, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


def resnet() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 6, 7, 2, 3, bias=False), _norm(6), nn.ReLU(), nn.MaxPool2d(3, 2, 1)),
        *(Residual(6, 6, 1), Residual(6, 8, 2), nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        nn.Linear(8, 4),
    )


class Inverted(nn.Module):
    def __init__(self, given: int, made: int, stride: int) -> None:
        super().__init__()
        wide = 3 * given
        self.steps = nn.Sequential(
            *(nn.Conv2d(given, wide, 1, bias=False), _norm(wide), nn.ReLU6()),
            *(nn.Conv2d(wide, wide, 5, stride, 2, groups=wide, bias=False), _norm(wide)),
            *(nn.ReLU6(), nn.Conv2d(wide, made, 1, bias=False), _norm(made)),
        )
        self.adds = stride == 1 and given == made

    def forward(self, x: Tensor) -> Tensor:
        return self.steps(x) + x if self.adds else self.steps(x)


def efficientnet_lite() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, 2, 1, bias=False), _norm(4), nn.ReLU6()),
        *(Inverted(4, 4, 1), Inverted(4, 6, 2), Inverted(6, 6, 1)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(), nn.Linear(6, 4)),
    )


class UNet(nn.Module):
    """A value for every pixel; the way up by a transposed convolution, or by interpolation."""

    def __init__(self, up: nn.Module) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.deep = nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.up = up
        self.out = nn.Sequential(nn.Conv2d(10, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 2, 1))

    def forward(self, x: Tensor) -> Tensor:
        beside = self.down(x)
        up = self.up(self.deep(beside))
        missing = [beside.shape[d] - up.shape[d] for d in (3, 2)]
        up = F.pad(up, (missing[0] // 2, missing[0] - missing[0] // 2, 0, missing[1]))
        return self.out(torch.cat([beside, up], 1))


def u_net_transposed() -> nn.Module:
    return UNet(nn.ConvTranspose2d(6, 6, 3, stride=2, padding=1, output_padding=1))


def u_net_bilinear() -> nn.Module:
    return UNet(nn.Upsample(scale_factor=2, mode="bilinear"))


def u_net_corners() -> nn.Module:
    return UNet(nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True))


class Resized(nn.Module):
    """Interpolation by factors that are no whole numbers, up and down."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, 2, 1), nn.ReLU())
        self.rest = nn.Sequential(nn.Conv2d(4, 6, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = F.interpolate(self.stem(x), scale_factor=1.7, mode="bicubic")
        x = F.interpolate(self.rest(x), (19, 23), mode="bilinear")
        x = F.interpolate(x, scale_factor=(1.3, 2.4), mode="nearest")
        return self.head(x.mean((2, 3)))


class Dilated(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(3, 6, 3, 2), nn.PReLU(6))
        self.rates = nn.ModuleList(nn.Conv2d(6, 3, 3, padding=r, dilation=r) for r in (1, 2, 5))
        self.head = nn.Linear(9, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        x = F.relu(torch.cat([rate(x) for rate in self.rates], 1))
        return self.head(x.mean((2, 3)))


class Shuffled(nn.Module):
    """Views and permutations of channels, slices, ceil-mode pools that overlap."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, 2, padding="valid"), nn.ReLU())
        self.pool = nn.MaxPool2d(3, 2, 1, ceil_mode=True)
        self.left = nn.Conv2d(4, 4, 3, padding="same", dilation=2)
        self.mean = nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False)
        self.head = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pool(self.stem(x))
        left, right = x.chunk(2, 1)
        x = torch.cat([F.leaky_relu(self.left(left), 0.2), right], 1)
        n, c, h, w = x.shape
        x = x.view(n, 2, c // 2, h, w).transpose(1, 2).reshape(n, c, h, w)
        x = self.mean(x[:, :, 1:] * 0.5 + 0.1)
        return self.head(F.adaptive_max_pool2d(F.interpolate(x, scale_factor=2), 1).flatten(1))


class Gated(nn.Module):
    """A gate in the middle that reads all of space, as squeeze-and-excitation does."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.ReLU())
        self.squeeze = nn.AdaptiveAvgPool2d(1)
        self.excite = nn.Sequential(nn.Conv2d(16, 16, 1), nn.Sigmoid())
        self.rest = nn.Sequential(nn.Conv2d(16, 16, 3, padding=1), nn.ReLU())
        self.head = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        return self.head(self.rest(x * self.excite(self.squeeze(x))))


NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "VGG": vgg,
    "ResNet": resnet,
    "EfficientNet-Lite": efficientnet_lite,
    "U-Net, transposed": u_net_transposed,
    "U-Net, bilinear": u_net_bilinear,
    "U-Net, corners": u_net_corners,
    "resized": Resized,
    "dilated": Dilated,
    "shuffled": Shuffled,
}


def build(name: str) -> nn.Module:
    """The network, the same every time, in float64."""
    torch.manual_seed(0)
    return _settled(NETWORKS[name]())


@functools.cache
def network(name: str) -> nn.Module:
    """The network that all tests share, and what it is captured as."""
    return build(name)


@functools.cache
def gated() -> nn.Module:
    """The network with the gate."""
    torch.manual_seed(0)
    return _settled(Gated())
