import pytest
import torch
from agreement import assert_close
from operator_cases import CHANNELS_LAST
from torch import Tensor
from torch.nn import functional

from relprop.ops import backends, pointwise_convolution, reference_pointwise
from relprop.ops.pointwise import suits

IMPLEMENTATIONS = (
    torch.ops.relprop.pointwise_convolution,
    reference_pointwise.pointwise_convolution,
)
# batch, in, out, height, width
SIZES = [
    (1, 1, 1, 1, 1),
    (2, 3, 16, 5, 3),
    (1, 16, 17, 7, 9),
    (3, 35, 33, 6, 5),
    (2, 64, 40, 8, 8),
    (1, 130, 96, 11, 13),
]
PARTS = {
    "W": (1.0, 1.0, lambda w: w),
    "W+": (1.0, 0.0, lambda w: w.clamp(min=0)),
    "W-": (0.0, 1.0, lambda w: w.clamp(max=0)),
    "|W|": (1.0, -1.0, lambda w: w.abs()),
    "W + 0.3 W+": (1.3, 1.0, lambda w: w + 0.3 * w.clamp(min=0)),
}


def case(size: tuple[int, ...], transposed: bool, **options: object) -> tuple[Tensor, ...]:
    """x, weight, bias and another x."""
    batch, inputs, outputs, *image = size
    filters = (inputs, outputs) if transposed else (outputs, inputs)
    shapes = ((batch, inputs, *image), (*filters, 1, 1), (outputs,), (batch, inputs, *image))
    x, weight, bias, y = (torch.randn(shape, **options) for shape in shapes)
    return x, weight, bias, y


def summed(x: Tensor, weight: Tensor, transposed: bool) -> Tensor:
    """Place by place, in float64."""
    w = weight.double()[:, :, 0, 0]
    return (x.double().movedim(1, -1) @ (w if transposed else w.T)).movedim(-1, 1)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("size", SIZES)
def test_every_place_meets_its_part_of_the_matrix(
    size: tuple[int, ...], part: str, transposed: bool, device: torch.device
) -> None:
    positive, negative, taken = PARTS[part]
    x, weight, bias, _ = case(size, transposed, dtype=torch.float64, device=device)
    wanted = summed(x, taken(weight), transposed) + bias.reshape(-1, 1, 1)
    for implementation in IMPLEMENTATIONS:
        z = implementation(x, weight, bias, positive, negative, transposed, None, 1.0, 1.0)
        assert z.is_contiguous(memory_format=CHANNELS_LAST)
        assert_close(z, wanted, 1e-13)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_two_inputs_meet_parts_of_their_own(
    size: tuple[int, ...], transposed: bool, device: torch.device
) -> None:
    x, weight, bias, y = case(size, transposed, dtype=torch.float64, device=device)
    wanted = summed(x, 2 * weight.clamp(min=0), transposed)
    wanted = wanted + summed(y, -weight.clamp(max=0), transposed) + bias.reshape(-1, 1, 1)
    for implementation in IMPLEMENTATIONS:
        z = implementation(x, weight, bias, 2.0, 0.0, transposed, y, 0.0, -1.0)
        assert_close(z, wanted, 1e-13)


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("inputs", [32, 512, 2048])
def test_rounding_error_is_that_of_plain_summation(
    inputs: int, transposed: bool, device: torch.device
) -> None:
    x, weight, bias, _ = case((1, inputs, 48, 7, 5), transposed, device=device)
    z = pointwise_convolution(x, weight, bias, transposed=transposed)
    wanted = summed(x, weight, transposed) + bias.double().reshape(-1, 1, 1)
    error = (z - wanted).square().mean().sqrt()
    assert error <= 2e-6 * wanted.square().mean().sqrt()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    x, weight, bias, y = case((2, 20, 33, 7, 8), False, dtype=dtype, device=device)
    z = pointwise_convolution(x, weight, bias, other=y, other_positive=0.5)
    exact = (t.double() for t in (x, weight, bias, y))
    x, weight, bias, y = exact
    wanted = pointwise_convolution(x, weight, bias, other=y, other_positive=0.5)
    assert z.dtype == dtype
    assert_close(z, wanted, torch.finfo(dtype).eps)


LAYOUTS = {
    "contiguous": lambda t: t,
    "channels last": lambda t: t.contiguous(memory_format=CHANNELS_LAST),
    "batch innermost": lambda t: t.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    "every other channel": lambda t: t.repeat_interleave(2, 1)[:, ::2],
    "every other place": lambda t: functional.interpolate(t, scale_factor=2).contiguous(
        memory_format=CHANNELS_LAST
    )[..., ::2, ::2],
}


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize("layout", LAYOUTS)
def test_operands_are_read_as_they_lie(layout: str, transposed: bool, device: torch.device) -> None:
    x, weight, bias, y = case((2, 35, 70, 9, 10), transposed, dtype=torch.float64, device=device)
    lay = LAYOUTS[layout]
    wanted = IMPLEMENTATIONS[1](x, weight, bias, 1.0, -1.0, transposed, y, 0.5, 1.0)
    z = IMPLEMENTATIONS[0](lay(x), weight, bias, 1.0, -1.0, transposed, lay(y), 0.5, 1.0)
    assert_close(z, wanted, 1e-13)
    matrix = weight[:, :, 0, 0].T.contiguous().T[:, :, None, None]
    apart = bias.repeat_interleave(2)[::2]
    z = IMPLEMENTATIONS[0](x, matrix, apart, 1.0, -1.0, transposed, y, 0.5, 1.0)
    assert_close(z, wanted, 1e-13)


def test_what_is_no_number_stays_none(device: torch.device) -> None:
    x, weight, *_ = case((1, 3, 2, 5, 5), False, device=device)
    weight[1, 1] = torch.nan
    for positive, negative, _ in PARTS.values():
        z = pointwise_convolution(x, weight, positive=positive, negative=negative)
        assert bool(z[:, 0].isfinite().all())
        assert bool(z[:, 1].isnan().all())


def test_result_depends_neither_on_threads_nor_on_the_batch(device: torch.device) -> None:
    x, weight, bias, _ = case((5, 40, 70, 15, 13), False, device=device)
    together = pointwise_convolution(x, weight, bias)
    if device.type == "cpu":
        apart = torch.cat([pointwise_convolution(one[None], weight, bias) for one in x])
        assert torch.equal(apart, together)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(pointwise_convolution(x, weight, bias), together)
    finally:
        torch.set_num_threads(threads)


def test_empty_batch_gives_an_empty_result(device: torch.device) -> None:
    x, weight, bias, _ = case((0, 5, 7, 6, 8), False, device=device)
    assert pointwise_convolution(x, weight, bias).shape == (0, 7, 6, 8)


UNSUITED = {
    "larger filters": ((8, 4, 3, 3), [0, 0], 1),
    "padding": ((8, 4, 1, 1), [1, 0], 1),
    "channels by themselves": ((8, 1, 1, 1), [0, 0], 4),
}


@pytest.mark.parametrize("name", UNSUITED)
def test_kernel_is_not_used_where_it_cannot_be(name: str) -> None:
    shape, padding, groups = UNSUITED[name]
    x = torch.zeros(1, 4, 5, 5)
    assert not suits(x, torch.zeros(shape), padding=padding, groups=groups)


def test_kernel_is_used_for_float32_where_it_is_built() -> None:
    native = backends().serving("pointwise_convolution", "cpu").serves == "native"
    x, weight = torch.zeros(1, 4, 5, 5), torch.zeros(8, 4, 1, 1)
    assert suits(x, weight, padding=[0, 0], groups=1) == native
    assert not suits(x.double(), weight.double(), padding=[0, 0], groups=1)
    assert not suits(x.to("meta"), weight.to("meta"), padding=[0, 0], groups=1)
