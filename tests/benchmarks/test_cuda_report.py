"""The table of what CUDA kernels take is what the compiler said."""

from __future__ import annotations

import pytest

from benchmarks.gpu.kernels import Usage, grouped, markdown, named, span, usages

RESCALE = "_ZN7relprop4cuda14rescale_kernelILi4EffNS_{}IfEEEEvNS0_16RescaleArgumentsIT0_EET2_T1_"
SHARE = "_ZN7relprop4cuda20share_windows_kernelILi16E6__halfEEvNS0_16ShapleyArgumentsIT0_EE"
REPORT = f"""
[1/2] nvcc -c rescale.cu
ptxas info    : 28 bytes gmem
ptxas info    : Compiling entry function '{RESCALE.format("4Relu")}' for 'sm_80'
ptxas info    : Function properties for {RESCALE.format("4Relu")}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 32 registers, used 0 barriers, 416 bytes cmem[0]
ptxas info    : Compiling entry function '{RESCALE.format("4Tanh")}' for 'sm_80'
ptxas info    : Function properties for {RESCALE.format("4Tanh")}
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 416 bytes cmem[0]
[2/2] nvcc -c max_pool_shapley.cu
ptxas info    : Compiling entry function '{SHARE}' for 'sm_90'
ptxas info    : Function properties for {SHARE}
    320 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 96 registers, used 1 barriers, 320 bytes cumulative stack size, 64 bytes smem
"""


def test_every_kernel_of_the_report_is_read() -> None:
    assert list(usages(REPORT)) == [
        Usage("rescale_kernel", "float32", "sm_80", 32, 0, 0, 0),
        Usage("rescale_kernel", "float32", "sm_80", 40, 0, 0, 0),
        Usage("share_windows_kernel", "float16", "sm_90", 96, 64, 320, 12),
    ]


def test_a_row_is_over_all_functions_of_a_kernel_and_type() -> None:
    assert grouped(list(usages(REPORT))) == [
        ["rescale_kernel", "float32", "sm_80", "2", "32 to 40", "0", "0", "0"],
        ["share_windows_kernel", "float16", "sm_90", "1", "96", "64", "320", "12"],
    ]


def test_the_page_says_what_spills_and_why() -> None:
    page = markdown(list(usages(REPORT)), {"nvcc": "13.0"})
    assert "- nvcc: 13.0" in page
    assert "Registers are spilled in: share_windows_kernel." in page
    assert "- `share_windows_kernel`: the taps of a short window are sorted" in page
    none = markdown(list(usages(REPORT))[:2], {})
    assert "Registers are spilled in: none." in none


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [("IfEEv", "float32"), ("IdEEv", "float64"), ("I13__nv_bfloat16fEEv", "bfloat16"), ("v", "-")],
)
def test_types_are_those_of_the_stored_elements(arguments: str, dtype: str) -> None:
    assert named(f"_ZN7relprop4cuda15add_sums_kernel{arguments}") == ("add_sums_kernel", dtype)


def test_what_is_not_understood_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"no kernel of relprop's is called _Z4copyv"):
        named("_Z4copyv")
    cut = REPORT[: REPORT.index("    0 bytes stack")]
    with pytest.raises(ValueError, match="ptxas says nothing of _ZN7relprop4cuda14rescale_kernel"):
        list(usages(cut))


def test_a_span_is_one_number_where_all_are_the_same() -> None:
    assert span(iter([3, 3])) == "3"
    assert span(iter([5, 3, 4])) == "3 to 5"
