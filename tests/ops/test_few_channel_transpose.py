import pytest
import torch
from agreement import assert_close
from torch import Tensor
from torch.nn.functional import conv2d

from relprop.ops import backends, few_channel_transpose, reference_few_channels
from relprop.ops.few_channels import suits

IMPLEMENTATIONS = (
    torch.ops.relprop.few_channel_transpose,
    reference_few_channels.few_channel_transpose,
)
# batch, in, out, input size, filter, stride, padding
CASES = [
    (1, 3, 64, (30, 37), (7, 7), (2, 2), (3, 3)),
    (2, 3, 17, (12, 9), (3, 3), (1, 1), (1, 1)),
    (3, 1, 5, (13, 15), (4, 4), (3, 3), (2, 2)),
    (1, 8, 33, (9, 11), (2, 5), (1, 2), (0, 2)),
    (2, 4, 16, (8, 8), (4, 4), (4, 4), (0, 0)),
    (1, 3, 6, (10, 10), (3, 3), (2, 2), (0, 0)),
    (1, 2, 6, (7, 9), (1, 1), (3, 2), (0, 0)),
    (1, 1, 1, (1, 1), (3, 3), (1, 1), (1, 1)),
]
W_PLUS = (1.0, 0.0)


def operands(case: tuple[object, ...], **options: object) -> tuple[Tensor, Tensor, Tensor]:
    """Two tensors shaped like the convolution's output, and its weight."""
    batch, inputs, outputs, size, taps, stride, padding = case
    weight = torch.randn(outputs, inputs, *taps, **options)
    z = conv2d(torch.randn(batch, inputs, *size, **options), weight, None, stride, padding)
    return torch.randn_like(z), torch.randn_like(z), weight


def adjoint(case: tuple[object, ...], s: Tensor, weight: Tensor) -> Tensor:
    """The gradient of `(conv2d(x) * s).sum()`."""
    batch, inputs, _, size, _, stride, padding = case
    x = torch.zeros(batch, inputs, *size, dtype=s.dtype, device=s.device, requires_grad=True)
    return torch.autograd.grad(conv2d(x, weight, None, stride, padding), x, s)[0]


@pytest.mark.parametrize("case", CASES)
def test_it_is_the_adjoint_of_the_convolution_by_its_part(
    case: tuple[object, ...], device: torch.device
) -> None:
    s, _, weight = operands(case, dtype=torch.float64, device=device)
    *_, size, _, stride, padding = case
    parts = {(1.0, 1.0): weight, W_PLUS: weight.clamp(min=0), (1.0, -1.0): weight.abs()}
    for factors, taken in parts.items():
        wanted = adjoint(case, s, taken)
        for implementation in IMPLEMENTATIONS:
            r = implementation(s, weight, size, stride, padding, *factors, None, 1.0, 1.0)
            assert r.is_contiguous(memory_format=torch.channels_last)
            assert_close(r, wanted, 1e-13)


@pytest.mark.parametrize("case", CASES)
def test_two_tensors_meet_parts_of_their_own(
    case: tuple[object, ...], device: torch.device
) -> None:
    s, t, weight = operands(case, dtype=torch.float64, device=device)
    *_, size, _, stride, padding = case
    wanted = adjoint(case, s, 2 * weight.clamp(min=0)) - adjoint(case, t, weight.clamp(max=0))
    for implementation in IMPLEMENTATIONS:
        r = implementation(s, weight, size, stride, padding, 2.0, 0.0, t, 0.0, -1.0)
        assert_close(r, wanted, 1e-13)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_types_are_summed_in_float32(dtype: torch.dtype, device: torch.device) -> None:
    s, t, weight = (o.to(dtype) for o in operands(CASES[0], device=device))
    *_, size, _, stride, padding = CASES[0]
    options = {"input_size": size, "stride": stride, "padding": padding}
    r = few_channel_transpose(s, weight, other=t, **options)
    wanted = few_channel_transpose(s.double(), weight.double(), other=t.double(), **options)
    assert r.dtype == dtype
    assert_close(r, wanted, torch.finfo(dtype).eps)


@pytest.mark.parametrize("case", CASES)
def test_operands_are_read_as_they_lie(case: tuple[object, ...], device: torch.device) -> None:
    s, t, weight = operands(case, dtype=torch.float64, device=device)
    *_, size, _, stride, padding = case
    a = (size, stride, padding, 1.0, -1.0)
    wanted = IMPLEMENTATIONS[1](s, weight, *a, t, 0.5, 1.0)
    last = {"memory_format": torch.channels_last}
    every_other = s.repeat_interleave(2, 3)[..., ::2]
    for x in (s.contiguous(**last), every_other, every_other.permute(1, 0, 2, 3).clone().mT.mT):
        x = x if x.shape == s.shape else x.permute(1, 0, 2, 3)
        r = IMPLEMENTATIONS[0](x, weight.contiguous(**last), *a, t.contiguous(**last), 0.5, 1.0)
        assert_close(r, wanted, 1e-13)


def test_result_depends_neither_on_threads_nor_on_the_batch(device: torch.device) -> None:
    case = (3, *CASES[0][1:])
    s, _, weight = operands(case, device=device)
    *_, size, _, stride, padding = case
    options = {"input_size": size, "stride": stride, "padding": padding}
    together = few_channel_transpose(s, weight, **options)
    if device.type == "cpu":
        apart = torch.cat([few_channel_transpose(one[None], weight, **options) for one in s])
        assert torch.equal(apart, together)
    threads = torch.get_num_threads()
    try:
        for count in (1, 2, 7):
            torch.set_num_threads(count)
            assert torch.equal(few_channel_transpose(s, weight, **options), together)
    finally:
        torch.set_num_threads(threads)


def test_empty_batch_gives_an_empty_result(device: torch.device) -> None:
    s, weight = torch.zeros(0, 5, 4, 4, device=device), torch.zeros(5, 3, 3, 3, device=device)
    assert few_channel_transpose(s, weight, input_size=(6, 6)).shape == (0, 3, 6, 6)


UNSUITED = {
    "many channels": ((8, 9, 3, 3), [1, 1], 1),
    "dilated filters": ((8, 3, 3, 3), [2, 1], 1),
    "channels by themselves": ((8, 1, 3, 3), [1, 1], 8),
    "one dimension": ((8, 3, 3), [1], 1),
}


@pytest.mark.parametrize("name", UNSUITED)
def test_kernel_is_not_used_where_it_is_slower_or_cannot_be(name: str) -> None:
    shape, dilation, groups = UNSUITED[name]
    s = torch.zeros(1, 8, *[5] * (len(shape) - 2))
    assert not suits(s, torch.zeros(shape), dilation=dilation, groups=groups)


def test_kernel_is_used_for_float32_where_it_is_built() -> None:
    native = backends().serving("few_channel_transpose", "cpu").serves == "native"
    s, weight = torch.zeros(1, 8, 5, 5), torch.zeros(8, 3, 3, 3)
    assert suits(s, weight, dilation=[1, 1], groups=1) == native
    assert not suits(s.double(), weight.double(), dilation=[1, 1], groups=1)
