import platform
import re
from pathlib import Path

import pytest
import torch
from function_formulas import TORCH, inside

from relprop.ops import ACTIVATIONS, backends, library

ROOT = Path(__file__).parents[2]
#: What torch's own kernels do well enough.
WITHOUT_KERNELS = ("signed_convolution", "signed_convolution_backward")
#: What has a kernel for CPUs with fused multiply-adds, and none for CUDA.
CPU_ALONE = ("winograd_convolution", "pointwise_convolution", "few_channel_transpose")
#: What has a kernel for tensor cores, and none for CPUs.
CUDA_ALONE = ("fused_convolution", "fused_convolution_pair")


def test_every_operator_says_what_serves_it_on_every_device() -> None:
    table = backends()
    assert {(row.operator, row.device) for row in table.rows} == {
        (operator, device) for operator in library.SCHEMAS for device in ("cpu", "cuda")
    }
    for row in table.rows:
        assert (row.serves == "native") == (row.reason == "")
        assert row.operator in str(table)


def test_kernels_serve_where_their_library_is_loaded() -> None:
    for kernels in library.KERNELS:
        alone = {*WITHOUT_KERNELS, *CPU_ALONE, *CUDA_ALONE}
        for operator in set(library.SCHEMAS).difference(alone):
            row = backends().serving(operator, kernels.device)
            assert (row.serves == "native") == (kernels.absent is None)
            assert row.reason == (kernels.absent or "")


@pytest.mark.parametrize("operator", WITHOUT_KERNELS)
def test_operators_of_plain_torch_are_not_passed_off_as_kernels(operator: str) -> None:
    for kernels in library.KERNELS:
        row = backends().serving(operator, kernels.device)
        assert row.serves == "reference"
        assert row.reason == (kernels.absent or "the library has no kernel for it")


def test_cuda_kernels_are_for_all_operators_but_these() -> None:
    sources = (ROOT / "csrc" / "cuda").glob("*.cu")
    registered = [re.findall(r'm\.impl\("(\w+)"', source.read_text()) for source in sources]
    names = [name for found in registered for name in found]
    assert len(names) == len(set(names))
    assert set(names) == set(library.SCHEMAS).difference(WITHOUT_KERNELS, CPU_ALONE)


def test_reference_serves_where_a_library_has_no_kernel_for_the_operator() -> None:
    for kernels in library.KERNELS:
        assert backends().serving(CUDA_ALONE[0], "cpu").serves == "reference"
        row = backends().serving(CPU_ALONE[0], kernels.device)
        fused = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
        if kernels.device == "cuda" or not fused:
            assert row.serves == "reference"
            assert row.reason == (kernels.absent or "the library has no kernel for it")


def test_build_names_compiler_and_instruction_set() -> None:
    pytest.importorskip("relprop._bindings", exc_type=ImportError)
    build = backends().build
    assert set(build) == {"compiler", "cuda", "instruction set", "torch"}
    if build["compiler"].startswith("gcc") and platform.machine() == "x86_64":
        assert build["instruction set"].startswith("x86-64")
    assert f"compiler: {build['compiler']}" in str(backends())


def test_unknown_operator_is_a_key_error() -> None:
    with pytest.raises(KeyError, match="no operator 'relu' on device 'cpu'"):
        backends().serving("relu", "cpu")


def test_broken_library_is_a_warning_that_names_the_causes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELPROP_NATIVE", raising=False)
    monkeypatch.setattr(library, "_FOLDER", tmp_path)
    (tmp_path / "_cpu.abi3.so").write_text("no library")
    with pytest.warns(RuntimeWarning, match=r"built against another torch .* library .* missing"):
        reason = library._load("_cpu", None)
    assert reason is not None
    assert reason.startswith("_cpu.abi3.so did not load: ")


def test_missing_library_names_what_was_missing_at_build_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RELPROP_NATIVE", raising=False)
    monkeypatch.setattr(library, "_FOLDER", tmp_path)
    assert library._load("_cpu", None) == (
        "no _cpu.abi3.so: relprop was installed without a C++ compiler"
    )


def test_activations_have_the_same_codes_in_python_and_in_csrc() -> None:
    header = (ROOT / "csrc" / "activations.h").read_text()
    table = header[header.index("#define RELPROP_FOR_EACH_ACTIVATION") :]
    rows = re.findall(r"DO\((\d+), (\w+)\)", table)
    assert {name.lower(): int(code) for code, name in rows} == {
        name.replace("_", ""): activation.code for name, activation in ACTIVATIONS.items()
    }


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_derivative_is_the_one_of_autograd(name: str) -> None:
    activation = ACTIVATIONS[name]
    p = list(activation.defaults.values())
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    x = inside(name, x).requires_grad_()
    (gradient,) = torch.autograd.grad(TORCH[name](x, *p).sum(), x)
    torch.testing.assert_close(activation.f(x, p), TORCH[name](x, *p))
    torch.testing.assert_close(activation.derivative(x, p), gradient)
