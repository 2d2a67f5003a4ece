"""Networks at random: any mixture of what DeepLIFT has rules for, in any geometry."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

SMOOTH = {
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "silu": F.silu,
    "mish": F.mish,
    "gelu": F.gelu,
    "gelu tanh": lambda x: F.gelu(x, approximate="tanh"),
    "logsigmoid": F.logsigmoid,
    "softplus": F.softplus,
    "exp": lambda x: torch.exp(x / 4),
    "log": lambda x: torch.log(x * x + 1),
    "sqrt": lambda x: torch.sqrt(x * x + 1),
    "square": lambda x: x**2 / 4,
    "cube": lambda x: x**3 / 8,
}
PIECEWISE = {
    "relu": F.relu,
    "relu6": F.relu6,
    "hardtanh": F.hardtanh,
    "clamp": lambda x: x.clamp(max=0.5),
    "threshold": lambda x: F.threshold(x, 0.1, 0.1),
    "leaky relu": F.leaky_relu,
    "elu": F.elu,
    "selu": F.selu,
    "celu": lambda x: F.celu(x, 0.5),
    "hardswish": F.hardswish,
    "hardsigmoid": F.hardsigmoid,
    "abs": torch.abs,
    "softsign": F.softsign,
}
ACTIVATIONS = {**SMOOTH, **PIECEWISE}
#: Those for which LRP is used: functions through zero, or bounded ones.
COMMON = ("relu", "relu6", "sigmoid", "tanh")
COMMON_STEPS = (
    *("conv", "strided", "grouped", "dilated", "norm", "max pool", "overlapping max pool"),
    *("avg pool", "residual", "branches", "gate", "pad", "shuffle", "in place", "scale"),
)
STEPS = (
    *COMMON_STEPS,
    *("transposed", "upsample", "bilinear", "reflect", "prelu", "group norm", "instance norm"),
    *(
        "layer norm",
        "softmax",
        "log softmax",
        "quotient",
        "matrix product",
        "maximum",
        "adaptive max pool",
    ),
)


class RandomNetwork(nn.Module):
    """The steps named, one after another, and a dense head."""

    def __init__(self, steps: list[str], activations: list[str], channels: int) -> None:
        super().__init__()
        self.steps, self.activations = steps, activations
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in steps)
        self.strided = nn.Conv2d(channels, channels, 2, stride=2, padding=1)
        self.grouped = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.dilated = nn.Conv2d(channels, channels, 2, dilation=2, padding=2)
        self.transposed = nn.ConvTranspose2d(channels, channels, 3, 2, 1, 1)
        self.reflect = nn.Conv2d(channels, channels, 3, padding=1, padding_mode="reflect")
        self.mix = nn.Parameter(torch.randn(channels, channels))
        self.norm = nn.BatchNorm2d(channels)
        self.prelu = nn.PReLU(channels)
        self.group_norm = nn.GroupNorm(1, channels)
        self.instance_norm = nn.InstanceNorm2d(channels, affine=True)
        self.head = nn.Linear(channels, 3)
        for tensor in (self.norm.running_mean, self.norm.weight, self.prelu.weight):
            nn.init.normal_(tensor)
        self.double().eval()

    def step(self, name: str, x: Tensor, index: int) -> Tensor:
        conv = self.convs[index]
        match name:
            case "max pool":
                return F.max_pool2d(x, 2, ceil_mode=True)
            case "overlapping max pool":
                return F.max_pool2d(x, 3, stride=1, padding=1)
            case "adaptive max pool":
                return F.adaptive_max_pool2d(x, (3, 2))
            case "maximum":
                return x + conv(x).amax((2, 3), keepdim=True)
            case "avg pool":
                return F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
            case "residual":
                return x + conv(x)
            case "branches":
                c = x.shape[1]
                return torch.cat([conv(x), x], 1)[:, c // 2 : c // 2 + c]
            case "gate":
                return conv(x) * torch.sigmoid(x.mean((2, 3), keepdim=True))
            case "quotient":
                return conv(x) / (1 + x * x)
            case "softmax":
                return x * torch.softmax(conv(x), 1)
            case "log softmax":
                return F.log_softmax(conv(x), 3)
            case "layer norm":
                return F.layer_norm(x, x.shape[1:])
            case "matrix product":
                return (self.mix @ conv(x).flatten(2)).reshape(x.shape)
            case "pad":
                return F.pad(x, (1, 0, 0, 2))
            case "upsample":
                return F.interpolate(x, scale_factor=2)
            case "bilinear":
                return F.interpolate(x, size=(5, 6), mode="bilinear", align_corners=False)
            case "shuffle":
                return x.flip(3).transpose(2, 3)
            case "in place":
                y = conv(x)
                y += x
                return F.relu_(y)
            case "scale":
                return (x * 1.5 - 0.25) / -2
            case "conv":
                return conv(x)
        return getattr(self, name.replace(" ", "_"))(x)

    def forward(self, x: Tensor) -> Tensor:
        for index, (name, function) in enumerate(zip(self.steps, self.activations, strict=True)):
            x = self.step(name, x, index)
            x = ACTIVATIONS[function](x) if function in ACTIVATIONS else x
        return self.head(x.mean((2, 3)))


@dataclass(frozen=True)
class Case:
    """What to build: prints small when it fails."""

    steps: list[str]
    activations: list[str]
    channels: int
    shape: tuple[int, int, int]
    common_baseline: bool
    seed: int

    def build(self) -> tuple[RandomNetwork, Tensor, Tensor]:
        """A network, inputs, and a baseline."""
        torch.manual_seed(self.seed)
        model = RandomNetwork(self.steps, self.activations, self.channels)
        n, h, w = self.shape
        x = torch.randn(n, self.channels, h, w, dtype=torch.float64)
        return model, x, torch.randn_like(x[:1] if self.common_baseline else x)


@st.composite
def cases(
    draw: st.DrawFn,
    steps: tuple[str, ...] = STEPS,
    activations: tuple[str, ...] = tuple(ACTIVATIONS),
) -> Case:
    """Some steps, with some activation function after each."""
    drawn = draw(st.lists(st.sampled_from(steps), min_size=1, max_size=4))
    function = st.sampled_from([*activations, "none"])
    functions = draw(st.lists(function, min_size=len(drawn), max_size=len(drawn)))
    size = st.integers(7, 11)
    shape = (draw(st.integers(1, 3)), draw(size), draw(size))
    channels, seed = draw(st.integers(2, 4)), draw(st.integers(0, 2**16))
    return Case(drawn, functions, channels, shape, draw(st.booleans()), seed)
