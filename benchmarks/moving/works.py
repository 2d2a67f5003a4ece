"""What is run, as data: options of zennit's script, and metrics and methods of Quantus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Call:
    """Options of the script.

    Attributes:
        model, network: what the script calls it, and what benchmarks.cost.networks does.
        composite, attributor: as the script calls them; no composite for a plain attributor.
        remark: why results may differ.
        photos: how many are explained.
    """

    model: str
    network: str
    composite: str = ""
    attributor: str = "gradient"
    remark: str = ""
    photos: int = 20

    @property
    def name(self) -> str:
        """What tells it from the others."""
        return f"{self.network}, {self.composite or self.attributor}"

    @property
    def options(self) -> tuple[str, ...]:
        """As the script takes them."""
        chosen = ("--model", self.model, "--attributor", self.attributor)
        return (*chosen, "--composite", self.composite) if self.composite else chosen


STABILIZER = "zennit's stabilizer takes a share"
FOLDED = "zennit's folding of batch norms changes the model's output"
CALLS = (
    Call("vgg16", "VGG16", "epsilon_plus"),
    Call("vgg16", "VGG16", "epsilon_plus_flat", remark=STABILIZER),
    Call("vgg16", "VGG16", "epsilon_gamma_box"),
    Call("vgg16", "VGG16", "epsilon_alpha2_beta1"),
    Call("vgg16", "VGG16", "guided_backprop", remark="pool winners that are equal up to rounding"),
    Call("vgg16", "VGG16", attributor="smoothgrad", remark="other random numbers", photos=4),
    Call("resnet50", "ResNet50", "epsilon_plus", remark=FOLDED),
    Call("resnet50", "ResNet50", "epsilon_gamma_box", remark=FOLDED),
)


@dataclass(frozen=True)
class Score:
    """A method of Quantus' `explain`, and whether captum, which it calls, is right on VGG16."""

    method: str
    remark: str = ""


SCORES = (
    Score("DeepLift"),
    Score("InputXGradient"),
    Score("LRP", "captum's is wrong where a ReLU stands before a max pool"),
)
