"""The operators' schemas, their reference implementations, and the loading of the kernels.

A schema is the contract: the reference, the CPU kernel and the CUDA kernel of an operator all
register under it. The reference is registered as CompositeExplicitAutograd, which serves every
device and fake tensors too; loading a library of kernels registers them for its device, which the
dispatcher prefers. So nothing ever asks whether a kernel is available.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.library import Library

from . import (
    reference,
    reference_convolution,
    reference_dense,
    reference_few_channels,
    reference_pointwise,
    reference_ratios,
    reference_shapley,
    reference_shares,
    reference_tensor_cores,
    reference_winograd,
)

SCHEMAS = {
    "lrp_ratio": (
        "(Tensor? multiplier, Tensor? amount, Tensor z, Tensor? denominator, Tensor? bias, "
        "float epsilon, int channel_dim, int activation, float[] parameters) -> Tensor"
    ),
    "signed_ratio": (
        "(Tensor? multiplier, Tensor? amount, Tensor z, Tensor size, float whole, float gamma, "
        "float epsilon, int activation, float[] parameters) -> Tensor"
    ),
    "signed_ratio_apart": (
        "(Tensor? multiplier, Tensor? amount, Tensor z, Tensor size, float whole, float gamma, "
        "float epsilon, int activation, float[] parameters) -> (Tensor, Tensor)"
    ),
    "rescale": (
        "(Tensor multiplier, Tensor x, Tensor x0, int activation, float[] parameters) -> Tensor"
    ),
    "max_pool_winner": (
        "(Tensor multiplier, Tensor x, Tensor? x0, int[] kernel_size, int[] stride, "
        "int[] padding, int[] dilation, bool ceil_mode) -> Tensor"
    ),
    "adaptive_max_pool_winner": "(Tensor multiplier, Tensor x, Tensor? x0) -> Tensor",
    "max_pool_shared": (
        "(Tensor multiplier, Tensor x, int[] kernel_size, int[] stride, int[] padding, "
        "int[] dilation, bool ceil_mode) -> Tensor"
    ),
    "adaptive_max_pool_shared": "(Tensor multiplier, Tensor x) -> Tensor",
    "max_pool_proportional": (
        "(Tensor? multiplier, Tensor? amount, Tensor x, int[] kernel_size, int[] stride, "
        "int[] padding, int[] dilation, bool ceil_mode, float epsilon) -> Tensor"
    ),
    "adaptive_max_pool_proportional": (
        "(Tensor? multiplier, Tensor? amount, Tensor x, float epsilon) -> Tensor"
    ),
    "max_pool_shapley": (
        "(Tensor positive, Tensor? negative, Tensor x, Tensor x0, int[] kernel_size, int[] stride, "
        "int[] padding, int[] dilation, bool ceil_mode) -> Tensor"
    ),
    "adaptive_max_pool_shapley": (
        "(Tensor positive, Tensor? negative, Tensor x, Tensor x0) -> Tensor"
    ),
    "max_pool_shapley_parts": (
        "(Tensor x, Tensor x0, int[] kernel_size, int[] stride, int[] padding, int[] dilation, "
        "bool ceil_mode) -> (Tensor, Tensor)"
    ),
    "adaptive_max_pool_shapley_parts": (
        "(Tensor x, Tensor x0, int[] output_size) -> (Tensor, Tensor)"
    ),
    "reveal_cancel": (
        "(Tensor positive, Tensor negative, Tensor P, Tensor N, Tensor x0, Tensor? x, "
        "int activation, float[] parameters) -> (Tensor, Tensor)"
    ),
    "reveal_cancel_parts": (
        "(Tensor P, Tensor N, Tensor x0, Tensor? x, int activation, float[] parameters) "
        "-> (Tensor, Tensor)"
    ),
    "signed_reveal_cancel": (
        "(Tensor positive, Tensor? negative, Tensor x, Tensor x0, Tensor size, int activation, "
        "float[] parameters) -> (Tensor, Tensor)"
    ),
    "reveal_cancel_size": (
        "(Tensor x, Tensor x0, Tensor size, int activation, float[] parameters) -> Tensor"
    ),
    "signed_linear": "(Tensor d, Tensor weight) -> (Tensor, Tensor)",
    "signed_linear_backward": (
        "(Tensor positive, Tensor negative, Tensor d, Tensor weight) -> Tensor"
    ),
    "signed_convolution": (
        "(Tensor p, Tensor n, Tensor weight, Tensor? magnitude, int[] stride, int[] padding, "
        "int[] dilation, bool transposed, int[] output_padding, int groups) "
        "-> (Tensor, Tensor)"
    ),
    "signed_convolution_backward": (
        "(Tensor positive, Tensor negative, Tensor weight, Tensor? magnitude, int[] input_size, "
        "int[] stride, int[] padding, int[] dilation, bool transposed, "
        "int[] output_padding, int groups) -> (Tensor, Tensor)"
    ),
    "winograd_convolution": (
        "(Tensor x, Tensor weight, Tensor? bias, int[] padding, float positive, float negative, "
        "bool transposed) -> Tensor"
    ),
    "few_channel_transpose": (
        "(Tensor s, Tensor weight, int[] input_size, int[] stride, int[] padding, float positive, "
        "float negative, Tensor? other, float other_positive, float other_negative) -> Tensor"
    ),
    "pointwise_convolution": (
        "(Tensor x, Tensor weight, Tensor? bias, float positive, float negative, bool transposed, "
        "Tensor? other, float other_positive, float other_negative) -> Tensor"
    ),
    "fused_convolution": (
        "(Tensor x, Tensor weight, Tensor? bias, int[] size, int[] stride, int[] padding, "
        "bool transposed, float[] parts, Tensor? other, Tensor? z, Tensor? denominator, "
        "Tensor? other_denominator, Tensor? next_z, Tensor? next_denominator, float epsilon, "
        "bool relu) -> Tensor"
    ),
    "fused_convolution_pair": (
        "(Tensor x, Tensor weight, Tensor? bias, Tensor? other_bias, int[] size, int[] stride, "
        "int[] padding, bool transposed, Tensor? other) -> (Tensor, Tensor)"
    ),
}

REFERENCES = (
    reference,
    reference_convolution,
    reference_dense,
    reference_few_channels,
    reference_pointwise,
    reference_ratios,
    reference_shapley,
    reference_shares,
    reference_tensor_cores,
    reference_winograd,
)

#: Every operator in plain PyTorch, from whichever module specifies it.
IN_TORCH: dict[str, Callable[..., Any]] = {
    name: next(getattr(module, name) for module in REFERENCES if hasattr(module, name))
    for name in SCHEMAS
}

_FOLDER = Path(__file__).parent.parent
_library = Library("relprop", "DEF")


@dataclass(frozen=True)
class Kernels:
    """A library of kernels for one kind of device.

    Attributes:
        device: "cpu" or "cuda".
        dispatch_key: what its kernels are registered under.
        absent: why it is not loaded; None if it is.
    """

    device: str
    dispatch_key: str
    absent: str | None


KERNELS: list[Kernels] = []


def load() -> None:
    """Define the operators and load the kernels; a second call changes nothing."""
    if KERNELS:
        return
    for name, schema in SCHEMAS.items():
        _library.define(name + schema, tags=(torch.Tag.pt2_compliant_tag,))
        _library.impl(name, torch.no_grad()(IN_TORCH[name]), "CompositeExplicitAutograd")
    KERNELS.append(Kernels("cpu", "CPU", _load("_cpu", None)))
    no_cuda = None if torch.version.cuda else "this torch is built without CUDA"
    KERNELS.append(Kernels("cuda", "CUDA", _load("_cuda", no_cuda)))


def library_path(name: str) -> Path:
    """Where a library of kernels lies once it is built: ``_cpu`` or ``_cuda``."""
    return _FOLDER / f"{name}.abi3.so"


def call(name: str, *arguments: Any) -> Any:
    """What an operator gives; by its reference where torch records gradients of its arguments."""
    if torch.is_grad_enabled() and any(map(_has_gradient, arguments)):
        return IN_TORCH[name](*arguments)
    return getattr(torch.ops.relprop, name)(*arguments)


def _has_gradient(argument: object) -> bool:
    return isinstance(argument, Tensor) and argument.requires_grad


def _load(name: str, impossible: str | None) -> str | None:
    """Load one library; return why it is not loaded, or None if it is."""
    if os.environ.get("RELPROP_NATIVE") == "0":
        return "RELPROP_NATIVE=0 is set"
    if impossible is not None:
        return impossible
    path = library_path(name)
    if not path.exists():
        compiler = {"_cpu": "a C++ compiler", "_cuda": "nvcc"}[name]
        return f"no {path.name}: relprop was installed without {compiler}"
    try:
        torch.ops.load_library(str(path))
    except OSError as error:
        warnings.warn(
            f"relprop runs without its kernels in {path.name}, which did not load: {error}. Either "
            f"it was built against another torch than {torch.__version__} (install relprop again, "
            "with --no-build-isolation), or a library that it needs is missing.",
            RuntimeWarning,
            stacklevel=2,
        )
        return f"{path.name} did not load: {error}"
    return None
