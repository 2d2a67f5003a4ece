"""VGG16 and ResNet50 in plain torch, for machines without torchvision, whose own are taken first.

Layers and their names are torchvision's, so that weights fit both.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", *(512, 512, 512, "pool") * 2)
"""Channels of 3x3 convolutions, each with a ReLU, and max pools (Simonyan and Zisserman 2015)."""
RESNET50 = ((3, 64, 1), (4, 128, 2), (6, 256, 2), (3, 512, 2))
"""Blocks, their width, and the first one's stride (He et al. 2016, table 1)."""
EXPANSION = 4


class Vgg(nn.Module):
    """VGG16 with its 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for entry in VGG16:
            if isinstance(entry, int):
                layers += [nn.Conv2d(channels, entry, 3, padding=1), nn.ReLU(inplace=True)]
                channels = entry
            else:
                layers.append(nn.MaxPool2d(2, 2))
        self.features = nn.Sequential(*layers)
        self.avgpool = nn.AdaptiveAvgPool2d(7)
        self.classifier = nn.Sequential(
            *(nn.Linear(512 * 49, 4096), nn.ReLU(inplace=True), nn.Dropout()),
            *(nn.Linear(4096, 4096), nn.ReLU(inplace=True), nn.Dropout()),
            nn.Linear(4096, 1000),
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.avgpool(self.features(x))
        return self.classifier(torch.flatten(x, 1))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1, and the way around them."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        out = width * EXPANSION
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out)
        self.relu = nn.ReLU(inplace=True)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels != out:
            shortcut = nn.Conv2d(channels, out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(out))

    def forward(self, x: Tensor) -> Tensor:
        y = self.relu(self.bn1(self.conv1(x)))
        y = self.relu(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        y += x if self.downsample is None else self.downsample(x)
        return self.relu(y)


class ResNet(nn.Module):
    """ResNet50 with its 1000 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        channels = 64
        for k, (blocks, width, stride) in enumerate(RESNET50, 1):
            stage = [Bottleneck(channels, width, stride)]
            channels = width * EXPANSION
            stage += [Bottleneck(channels, width, 1) for _ in range(blocks - 1)]
            setattr(self, f"layer{k}", nn.Sequential(*stage))
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc = nn.Linear(channels, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(torch.flatten(self.avgpool(x), 1))


PLAIN: dict[str, Callable[[], nn.Module]] = {"VGG16": Vgg, "ResNet50": ResNet}
SMALL = "small"
"""A network on which to see that everything runs."""


def _small() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(3, 2)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5)),
    )


def build(name: str) -> nn.Module:
    """The network, the same every time, in evaluation mode, with frozen parameters."""
    torch.manual_seed(0)
    if name == SMALL:
        return _small().eval().requires_grad_(False)
    try:
        from torchvision import models

        model: nn.Module = getattr(models, name.lower())(weights=None)
    except (ImportError, RuntimeError):  # built for another torch, it does not import either
        model = PLAIN[name]()
    return model.eval().requires_grad_(False)


def settle_batch_norm(model: nn.Module, x: Tensor) -> None:
    """Set the statistics of batch norms to those of their inputs for the pictures x.

    Untrained, they would say mean 0 and variance 1 of activations that have neither.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # the plain mean of what is seen
        norm.train()
    with torch.no_grad():
        model(x)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.eval().momentum = momentum
