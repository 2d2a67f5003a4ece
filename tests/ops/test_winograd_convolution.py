from itertools import product

import pytest
import torch
from agreement import assert_close
from operator_cases import CHANNELS_LAST
from torch import Tensor
from torch.nn import functional

from relprop.ops import backends, reference_winograd, winograd_convolution
from relprop.ops.winograd import suits

IMPLEMENTATIONS = (
    torch.ops.relprop.winograd_convolution,
    reference_winograd.winograd_convolution,
)
# batch, in, out, height, width
SIZES = [
    (1, 1, 1, 3, 3),
    (2, 3, 1, 5, 4),
    (1, 17, 40, 7, 9),
    (3, 40, 65, 11, 6),
    (2, 16, 33, 4, 8),
    (1, 32, 3, 31, 20),
]
PARTS = {
    "W": (1.0, 1.0, lambda w: w),
    "W+": (1.0, 0.0, lambda w: w.clamp(min=0)),
    "W-": (0.0, 1.0, lambda w: w.clamp(max=0)),
    "|W|": (1.0, -1.0, lambda w: w.abs()),
    "W + 0.3 W+": (1.3, 1.0, lambda w: w + 0.3 * w.clamp(min=0)),
}


def case(size: tuple[int, ...], transposed: bool, **options: object) -> tuple[Tensor, ...]:
    """x, weight and bias."""
    batch, inputs, outputs, *image = size
    filters = (inputs, outputs) if transposed else (outputs, inputs)
    shapes = ((batch, inputs, *image), (*filters, 3, 3), (outputs,))
    x, weight, bias = (torch.randn(shape, **options) for shape in shapes)
    return x, weight, bias


def summed(x: Tensor, weight: Tensor, bias: Tensor, padding: tuple[int, int]) -> Tensor:
    """The convolution tap by tap, in float64."""
    x = functional.pad(x.double(), (padding[1], padding[1], padding[0], padding[0]))
    height, width = x.shape[2] - 2, x.shape[3] - 2
    z = bias.double().reshape(1, -1, 1, 1).expand(len(x), -1, height, width).clone()
    for row, column in product(range(3), range(3)):
        seen = x[:, :, row : row + height, column : column + width]
        z += torch.einsum("nihw,oi->nohw", seen, weight.double()[:, :, row, column])
    return z


def turned(weight: Tensor) -> Tensor:
    """The filters by which a convolution does what this weight's transposed one does."""
    return weight.transpose(0, 1).flip(2, 3)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", SIZES)
def test_convolution_is_the_sum_over_the_taps_of_its_part(
    size: tuple[int, ...], part: str, device: torch.device
) -> None:
    positive, negative, taken = PARTS[part]
    x, weight, bias = case(size, False, dtype=torch.float64, device=device)
    for padding in product((0, 1, 2), (0, 1, 2, 3)):
        wanted = summed(x, taken(weight), bias, padding)
        for implementation in IMPLEMENTATIONS:
            z = implementation(x, weight, bias, list(padding), positive, negative, False)
            assert z.shape == wanted.shape
            assert_close(z, wanted, 1e-13)


@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", SIZES)
def test_transposed_convolution_is_one_by_turned_filters(
    size: tuple[int, ...], part: str, device: torch.device
) -> None:
    positive, negative, taken = PARTS[part]
    x, weight, bias = case(size, True, dtype=torch.float64, device=device)
    for padding in product((0, 1, 2), (0, 1, 2)):
        if 2 + min(side - 2 * p for side, p in zip(size[3:], padding, strict=True)) < 1:
            continue
        rest = (2 - padding[0], 2 - padding[1])
        wanted = summed(x, turned(taken(weight)), bias, rest)
        for implementation in IMPLEMENTATIONS:
            z = implementation(x, weight, bias, list(padding), positive, negative, True)
            assert z.shape == wanted.shape
            assert_close(z, wanted, 1e-13)


def test_transposed_convolution_is_the_adjoint_of_the_convolution(device: torch.device) -> None:
    x, weight, _ = case((2, 40, 33, 9, 14), False, dtype=torch.float64, device=device)
    z = winograd_convolution(x, weight, padding=(1, 0), negative=-1.0)
    s = torch.randn_like(z)
    back = winograd_convolution(s, weight, padding=(1, 0), negative=-1.0, transposed=True)
    assert back.shape == x.shape
    assert_close((back * x).sum(), (s * z).sum(), 1e-13)


# torch's own sums are off by about 3e-7 to 8e-7 here, whatever the signs.
@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("inputs", [32, 128, 512])
@pytest.mark.parametrize(("signs", "bound"), [("both", 3e-6), ("one", 1e-6)])
def test_rounding_error_is_small_beside_the_result(
    inputs: int, transposed: bool, signs: str, bound: float, device: torch.device
) -> None:
    x, weight, bias = case((1, inputs, 33, 14, 10), transposed, device=device)
    if signs == "one":
        x, weight, bias = x.clamp(min=0), weight.abs(), bias.abs()
    z = winograd_convolution(x, weight, bias, padding=1, transposed=transposed)
    wanted = summed(x, turned(weight) if transposed else weight, bias, (1, 1)).cpu()
    error = (z.cpu() - wanted).square().mean().sqrt()
    assert error <= bound * wanted.square().mean().sqrt()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    x, weight, bias = case((2, 20, 33, 7, 8), False, dtype=dtype, device=device)
    z = winograd_convolution(x, weight, bias, padding=1)
    wanted = winograd_convolution(x.double(), weight.double(), bias.double(), padding=1)
    assert z.dtype == dtype
    assert_close(z, wanted, torch.finfo(dtype).eps)


LAYOUTS = {
    "contiguous": lambda t: t,
    "channels last": lambda t: t.contiguous(memory_format=CHANNELS_LAST),
    "batch innermost": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every other channel": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "a crop of channels last": lambda t: functional.pad(t, (1, 2, 2, 1)).contiguous(
        memory_format=CHANNELS_LAST
    )[..., 2:-1, 1:-2],
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_are_read_as_they_lie(layout: str, transposed: bool, device: torch.device) -> None:
    x, weight, bias = case((2, 35, 70, 9, 10), transposed, dtype=torch.float64, device=device)
    a = (bias, [1, 0], 1.0, -1.0, transposed)
    wanted = IMPLEMENTATIONS[1](x, weight, *a)
    for operands in ((LAYOUTS[layout](x), weight), (x, LAYOUTS[layout](weight))):
        z = IMPLEMENTATIONS[0](*operands, *a)
        assert z.is_contiguous(memory_format=CHANNELS_LAST)
        assert z.stride() == wanted.stride()
        assert_close(z, wanted, 1e-13)
    spread = bias.repeat_interleave(2)[::2]
    assert_close(IMPLEMENTATIONS[0](x, weight, spread, *a[1:]), wanted, 1e-13)


def test_common_example_and_common_filter_are_read_as_they_lie(device: torch.device) -> None:
    x, weight, bias = case((1, 6, 1, 8, 9), False, dtype=torch.float64, device=device)
    x, weight, bias = x.expand(3, -1, -1, -1), weight.expand(40, -1, -1, -1), bias.expand(40)
    z = winograd_convolution(x, weight, bias, padding=1)
    assert_close(z, summed(x, weight, bias, (1, 1)), 1e-13)


@pytest.mark.parametrize("transposed", [False, True])
def test_zeros_give_exactly_the_bias(transposed: bool, device: torch.device) -> None:
    x, weight, bias = case((2, 33, 17, 9, 6), transposed, device=device)
    x = torch.zeros_like(x)
    z = winograd_convolution(x, weight, padding=1, transposed=transposed)
    assert torch.equal(z, torch.zeros_like(z))
    z = winograd_convolution(x, weight, bias, padding=1, transposed=transposed)
    assert torch.equal(z, bias.reshape(1, -1, 1, 1).expand_as(z))


def test_tiles_of_zeros_beside_others_give_exactly_zero(device: torch.device) -> None:
    x, weight, _ = case((1, 20, 20, 16, 16), False, device=device)
    x[:, :, :, 7:] = 0
    z = winograd_convolution(x, weight, padding=1)
    assert torch.equal(z[..., 8:], torch.zeros_like(z[..., 8:]))


def test_what_is_no_number_stays_none(device: torch.device) -> None:
    x, weight, _ = case((1, 3, 2, 5, 5), False, device=device)
    weight[1, 1, 1, 1] = torch.nan
    for positive, negative, _ in PARTS.values():
        z = winograd_convolution(x, weight, padding=1, positive=positive, negative=negative)
        assert bool(z[:, 0].isfinite().all())
        assert bool(z[:, 1].isnan().all())


def test_result_depends_neither_on_threads_nor_on_the_batch(device: torch.device) -> None:
    x, weight, bias = case((5, 40, 70, 30, 33), False, device=device)
    together = winograd_convolution(x, weight, bias, padding=1)
    if device.type == "cpu":
        apart = torch.cat([winograd_convolution(one[None], weight, bias, padding=1) for one in x])
        assert torch.equal(apart, together)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(winograd_convolution(x, weight, bias, padding=1), together)
    finally:
        torch.set_num_threads(threads)


def test_empty_batch_gives_an_empty_result(device: torch.device) -> None:
    x, weight, bias = case((0, 5, 7, 6, 8), False, device=device)
    assert winograd_convolution(x, weight, bias, padding=0).shape == (0, 7, 4, 6)
    x, weight, bias = case((0, 5, 7, 6, 8), True, device=device)
    assert winograd_convolution(x, weight, bias, transposed=True).shape == (0, 7, 8, 10)


LARGE = {"x": (1, 64, 56, 56), "weight": (128, 64, 3, 3), "padding": 1}
SUITED = {
    "a layer of a large network": {},
    "its transposed": {"x": (1, 128, 56, 56), "transposed": True},
    "the smallest": {"x": (1, 32, 7, 7), "weight": (32, 32, 3, 3)},
    "small images, many of them": {"x": (4, 64, 4, 4)},
}
UNSUITED = {
    "other filters": {"weight": (128, 64, 5, 5)},
    "one dimension": {"x": (1, 64, 56), "weight": (128, 64, 3)},
    "steps of two": {"stride": 2},
    "steps of two along one side": {"stride": (1, 2)},
    "dilated filters": {"dilation": (2, 2)},
    "channels by themselves": {"weight": (64, 1, 3, 3), "groups": 64},
    "few inputs": {"x": (1, 3, 56, 56), "weight": (128, 3, 3, 3)},
    "few outputs": {"weight": (8, 64, 3, 3)},
    "few tiles": {"x": (1, 64, 4, 4)},
    "tiles that are half outside": {"x": (8, 64, 5, 5)},
    "no example": {"x": (0, 64, 56, 56)},
}


def suited(**options: object) -> bool:
    call = {**LARGE, **options}
    return suits(torch.zeros(call.pop("x")), torch.zeros(call.pop("weight")), **call)


@pytest.mark.parametrize("name", SUITED)
def test_kernel_is_used_where_it_is_faster(name: str) -> None:
    native = backends().serving("winograd_convolution", "cpu").serves == "native"
    assert suited(**SUITED[name]) == native


@pytest.mark.parametrize("name", UNSUITED)
def test_kernel_is_not_used_where_it_is_slower_or_cannot_be(name: str) -> None:
    assert not suited(**UNSUITED[name])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16])
def test_only_float32_suits(dtype: torch.dtype) -> None:
    x, weight = (torch.zeros(LARGE[name], dtype=dtype) for name in ("x", "weight"))
    assert not suits(x, weight, padding=1)
    assert not suits(x.float().to("meta"), weight.float().to("meta"), padding=1)
