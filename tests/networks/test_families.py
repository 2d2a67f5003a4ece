"""One network of every convolutional family, as it is, with random weights, in float64."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import relprop

models = pytest.importorskip("torchvision.models")
timm = pytest.importorskip("timm")

#: The side of the pictures, for each network of torchvision and timm; as small as it can take.
FAMILIES = {
    **{"alexnet": 64, "vgg16_bn": 32, "squeezenet1_1": 48, "googlenet": 48, "inception_v3": 80},
    **{"resnet18": 48, "wide_resnet50_2": 32, "resnext50_32x4d": 32},
    **{"mobilenet_v2": 32, "mobilenet_v3_small": 32, "mnasnet1_0": 32, "shufflenet_v2_x1_0": 32},
    **{"efficientnet_b0": 32, "convnext_tiny": 32, "regnet_x_400mf": 32, "regnet_y_400mf": 32},
    **{"timm.resnet50": 32, "timm.efficientnet_b0": 32},
}


class UNet(nn.Module):
    """Two levels, one up by a transposed convolution and one by interpolation."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = self._block(3, 4), self._block(4, 6), self._block(6, 8)
        self.pool = nn.MaxPool2d(2)
        self.up = nn.ConvTranspose2d(8, 6, 2, stride=2)
        self.wide = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        self.d, self.e, self.head = self._block(12, 6), self._block(10, 4), nn.Conv2d(4, 2, 1)

    @staticmethod
    def _block(a: int, b: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1), nn.BatchNorm2d(b), nn.ReLU(True))

    def forward(self, x: Tensor) -> Tensor:
        a = self.a(x)
        b = self.b(self.pool(a))
        c = self.up(self.c(self.pool(b)))
        d = self.wide(self.d(torch.cat([c, b], 1)))
        return self.head(self.e(torch.cat([d, a], 1)))


class Volume(nn.Module):
    def __init__(self, conv: type[nn.Module], norm: type[nn.Module], pool: type[nn.Module]) -> None:
        super().__init__()
        self.net = nn.Sequential(
            *(conv(2, 4, 3, padding=1), norm(4), nn.ReLU(), pool(2), conv(4, 5, 3), nn.SiLU()),
            *(nn.Flatten(2), nn.AdaptiveAvgPool1d(1), nn.Flatten(), nn.Linear(5, 3)),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


OWN = {
    "u-net": (UNet, (3, 16, 16), (1, 7, 5)),
    "1-d": (lambda: Volume(nn.Conv1d, nn.BatchNorm1d, nn.MaxPool1d), (2, 20), 2),
    "3-d": (lambda: Volume(nn.Conv3d, nn.BatchNorm3d, nn.MaxPool3d), (2, 8, 9, 10), 2),
}


def settle(model: nn.Module) -> nn.Module:
    """The model with statistics and biases that are not those of a fresh layer."""
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)):
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.2, 0.2)
        elif isinstance(getattr(module, "bias", None), Tensor):
            nn.init.uniform_(module.bias, -0.1, 0.1)
    return model.double().eval()


def of_a_library(name: str) -> nn.Module:
    """A network with random weights: timm's, or else torchvision's."""
    if name.startswith("timm."):
        return timm.create_model(name.removeprefix("timm."), pretrained=False)
    options = {"init_weights": False} if name in ("googlenet", "inception_v3") else {}
    return getattr(models, name)(weights=None, **options)


@pytest.fixture(scope="module", params=[*FAMILIES, *OWN])
def network(request: pytest.FixtureRequest) -> tuple[nn.Module, Tensor, object]:
    torch.manual_seed(0)
    if request.param in OWN:
        make, shape, target = OWN[request.param]
        return settle(make()), torch.randn(2, *shape, dtype=torch.float64), target
    size = FAMILIES[request.param]
    return (
        settle(of_a_library(request.param)),
        torch.randn(2, 3, size, size, dtype=torch.float64),
        3,
    )


@pytest.mark.parametrize(
    ("rule", "max_pool"), [("rescale", "winner"), ("reveal_cancel", "shapley")]
)
def test_contributions_sum_to_the_difference(
    network: tuple[nn.Module, Tensor, object], rule: str, max_pool: str
) -> None:
    model, x, target = network
    contributions = relprop.DeepLift(model, rule, max_pool).attribute(x, target=target)
    at = (slice(None), *target) if isinstance(target, tuple) else (slice(None), target)
    with torch.no_grad():
        difference = (model(x) - model(torch.zeros_like(x)))[at]
    torch.testing.assert_close(contributions.flatten(1).sum(1), difference, rtol=0, atol=1e-10)


def test_the_books_of_lrp_close(network: tuple[nn.Module, Tensor, object]) -> None:
    model, x, target = network
    report = relprop.LRP(model, "epsilon_plus_flat").report(x, target=target)
    assert abs(report.shortfall) < 1e-10
    assert report.bias != 0


def test_the_books_of_lrp_close_in_float32(network: tuple[nn.Module, Tensor, object]) -> None:
    model, x, target = network
    try:
        report = relprop.LRP(model.float(), "epsilon_plus").report(x.float(), target=target)
    finally:
        model.double()
    assert abs(report.shortfall) < 1e-4 * abs(report.score)


def test_a_fresh_resnet_is_explained_to_the_last_digit() -> None:
    """Its bare `+` and its reused ReLU are where packages that hook modules go wrong."""
    torch.manual_seed(0)
    model = models.resnet18(weights=None).double().eval()
    x = torch.randn(2, 3, 48, 48, dtype=torch.float64)
    lrp = relprop.LRP(model, "epsilon_plus", bias="redistribute")
    relevance = lrp.attribute(x, target=[3, 5])
    with torch.no_grad():
        logit = model(x)[[0, 1], [3, 5]]
    torch.testing.assert_close(relevance.flatten(1).sum(1), logit, rtol=1e-10, atol=0)
