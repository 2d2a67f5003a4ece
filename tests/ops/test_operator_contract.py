"""What holds of every operator."""

import resource
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.profiler import ProfilerActivity, profile

from relprop import ops

OPERATORS = tuple(ops.library.SCHEMAS)


def arguments(operator: str, batch: int = 2, **options: Any) -> tuple[Any, ...]:
    """A usual call, on (batch, 3, 6, 8)."""

    def random(*shape: int) -> Tensor:
        return torch.randn(*shape, **options)

    x, x0 = random(batch, 3, 6, 8), random(1, 3, 6, 8)
    relu = ops.ACTIVATIONS["relu"].code
    return {
        "lrp_ratio": (random(batch, 3, 6, 8), None, x, None, random(3), 0.1, 1, relu, []),
        "signed_ratio": (
            random(batch, 3, 6, 8), None, x, x.abs() + 0.5, 1.0, 0.25, 0.5, relu, [],
        ),
        "signed_ratio_apart": (
            random(batch, 3, 6, 8), random(batch, 3, 6, 8), x, x.abs() + 0.5, 1.0, 0.25, 0.5,
            relu, [],
        ),
        "rescale": (random(batch, 3, 6, 8), x, x0, relu, []),
        "max_pool_winner": (
            random(batch, 3, 3, 4), x, x0, [2, 2], [2, 2], [0, 0], [1, 1], False,
        ),
        "adaptive_max_pool_winner": (random(batch, 3, 4, 5), x, x0),
        "max_pool_shared": (random(batch, 3, 3, 4), x, [2, 2], [2, 2], [0, 0], [1, 1], False),
        "adaptive_max_pool_shared": (random(batch, 3, 4, 5), x),
        "max_pool_proportional": (
            random(batch, 3, 3, 4), None, x.abs(), [2, 2], [2, 2], [0, 0], [1, 1], False, 0.1,
        ),
        "adaptive_max_pool_proportional": (
            random(batch, 3, 4, 5), random(batch, 3, 4, 5), x.abs(), 0.1,
        ),
        "max_pool_shapley": (
            random(batch, 3, 3, 4), None, x, x0, [2, 2], [2, 2], [0, 0], [1, 1], False,
        ),
        "adaptive_max_pool_shapley": (random(batch, 3, 4, 5), random(batch, 3, 4, 5), x, x0),
        "max_pool_shapley_parts": (x, x0, [2, 2], [2, 2], [0, 0], [1, 1], False),
        "adaptive_max_pool_shapley_parts": (x, x0, [4, 5]),
        "reveal_cancel": (
            random(batch, 3, 6, 8), random(batch, 3, 6, 8), x.clamp(min=0), x.clamp(max=0),
            x0, x0 + x, relu, [],
        ),
        "reveal_cancel_parts": (x.clamp(min=0), x.clamp(max=0), x0, None, relu, []),
        "signed_reveal_cancel": (random(batch, 3, 6, 8), None, x, x0, (x - x0).abs(), relu, []),
        "reveal_cancel_size": (x, x0, (x - x0).abs(), relu, []),
        "signed_linear": (random(batch, 8), random(5, 8)),
        "signed_linear_backward": (
            random(batch, 5), random(batch, 5), random(batch, 8), random(5, 8),
        ),
        "signed_convolution": (
            x.clamp(min=0), x.clamp(max=0), random(4, 3, 2, 2), None,
            [2, 2], [0, 0], [1, 1], False, [0, 0], 1,
        ),
        "signed_convolution_backward": (
            random(batch, 4, 3, 4), random(batch, 4, 3, 4), random(4, 3, 2, 2), None,
            [6, 8], [2, 2], [0, 0], [1, 1], False, [0, 0], 1,
        ),
        "winograd_convolution": (x, random(5, 3, 3, 3), random(5), [1, 1], 1.0, -1.0, False),
        "pointwise_convolution": (
            x, random(5, 3, 1, 1), random(5), 2.0, 0.0, False, x.flip(3), 0.0, -1.0,
        ),
        "few_channel_transpose": (
            x, random(3, 2, 3, 3), [12, 16], [2, 2], [1, 1], 2.0, 0.0, x.flip(3), 0.0, -1.0,
        ),
        "fused_convolution": (
            x, random(3, 2, 3, 3), None, [11, 15], [2, 2], [1, 1], True, [1.0, 0.0, 0.0, 1.0],
            x.flip(3), x.flip(2), x.abs() + 1, x.abs() + 2, random(batch, 2, 11, 15),
            random(batch, 2, 11, 15).abs() + 1, 0.1, True,
        ),
        "fused_convolution_pair": (
            x, random(5, 3, 3, 3), random(5), random(5), [6, 8], [1, 1], [1, 1], False, x.flip(3),
        ),
    }[operator]  # fmt: skip


def overload(operator: str) -> Any:
    return getattr(torch.ops.relprop, operator).default


def run(operator: str, a: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """The results, of which some operators have several."""
    result = overload(operator)(*a)
    return result if isinstance(result, tuple) else (result,)


def same(results: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(results, others, strict=True))


# How many results an operator has, and which of its arguments has their shape.
LIKE_ARGUMENT = {
    "lrp_ratio": (1, 2),
    "signed_ratio": (1, 2),
    "signed_ratio_apart": (2, 2),
    "rescale": (1, 1),
    "max_pool_winner": (1, 1),
    "adaptive_max_pool_winner": (1, 1),
    "max_pool_shared": (1, 1),
    "adaptive_max_pool_shared": (1, 1),
    "max_pool_proportional": (1, 2),
    "adaptive_max_pool_proportional": (1, 2),
    "max_pool_shapley": (1, 2),
    "adaptive_max_pool_shapley": (1, 2),
    "reveal_cancel": (2, 2),
    "reveal_cancel_parts": (2, 0),
    "signed_reveal_cancel": (2, 2),
    "reveal_cancel_size": (1, 0),
    "signed_linear_backward": (1, 2),
}
# Those of the others have a shape of their own, for each example.
OWN_SHAPE = {
    "max_pool_shapley_parts": (2, (3, 3, 4)),
    "adaptive_max_pool_shapley_parts": (2, (3, 4, 5)),
    "signed_linear": (2, (5,)),
    "signed_convolution": (2, (4, 3, 4)),
    "signed_convolution_backward": (2, (3, 6, 8)),
    "winograd_convolution": (1, (5, 6, 8)),
    "pointwise_convolution": (1, (5, 6, 8)),
    "few_channel_transpose": (1, (2, 12, 16)),
    "fused_convolution": (1, (2, 11, 15)),
    "fused_convolution_pair": (2, (5, 6, 8)),
}
# Whose vectors are channels that lie side by side.
CHANNELS_LAST = {"winograd_convolution", "pointwise_convolution", "few_channel_transpose"}


def shapes_of_results(operator: str, a: tuple[Any, ...]) -> list[torch.Size]:
    if operator in OWN_SHAPE:
        count, shape = OWN_SHAPE[operator]
        return [torch.Size((a[0].shape[0], *shape))] * count
    count, argument = LIKE_ARGUMENT[operator]
    return [a[argument].shape] * count


@pytest.mark.parametrize("operator", OPERATORS)
def test_operator_keeps_the_contract_of_pytorch(operator: str, device: torch.device) -> None:
    torch.library.opcheck(overload(operator), arguments(operator, device=device))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("dynamic", [False, True])
def test_operator_compiles_without_a_graph_break(
    operator: str, dynamic: bool, device: torch.device
) -> None:
    torch.compiler.reset()
    compiled = torch.compile(
        overload(operator), fullgraph=True, dynamic=dynamic, backend="aot_eager"
    )
    for batch in (2, 5):
        a = arguments(operator, batch, device=device)
        result = compiled(*a)
        results = result if isinstance(result, tuple) else (result,)
        assert same(results, run(operator, a))


def _chain(m: Tensor, x: Tensor, x0: Tensor) -> Tensor:
    m = ops.max_pool_winner(m, x, x0, kernel_size=2)
    m = ops.rescale(m, x, x0, activation="tanh") * 2
    return ops.lrp_ratio(m, None, x, epsilon=0.1, activation="relu")


@pytest.mark.slow
def test_public_functions_compile_with_inductor(device: torch.device) -> None:
    torch.compiler.reset()
    m, x, x0 = arguments("max_pool_winner", device=device)[:3]
    compiled = torch.compile(_chain, fullgraph=True)
    torch.testing.assert_close(compiled(m, x, x0), _chain(m, x, x0))


@pytest.mark.parametrize("operator", OPERATORS)
def test_functions_have_the_derivatives_of_finite_differences_twice(operator: str) -> None:
    a = arguments(operator, dtype=torch.float64)
    places = [k for k, t in enumerate(a) if isinstance(t, Tensor)]

    def call(*tensors: Tensor) -> tuple[Tensor, ...] | Tensor:
        result: tuple[Tensor, ...] | Tensor = ops.library.call(
            operator, *[dict(zip(places, tensors, strict=True)).get(k, v) for k, v in enumerate(a)]
        )
        return result

    tensors = [a[k].requires_grad_() for k in places]
    assert torch.autograd.gradcheck(call, tensors, fast_mode=True)
    # Differences of quotients whose denominators are small have few digits.
    assert torch.autograd.gradgradcheck(call, tensors, fast_mode=True, atol=0.01)


@pytest.mark.parametrize("operator", OPERATORS)
def test_meta_tensors_tell_the_shape(operator: str) -> None:
    a = arguments(operator, device="meta")
    results = run(operator, a)
    assert all(result.is_meta for result in results)
    assert [result.shape for result in results] == shapes_of_results(operator, a)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_empty_batch_gives_an_empty_result(
    operator: str, dtype: torch.dtype, device: torch.device
) -> None:
    a = arguments(operator, 0, device=device, dtype=dtype)
    results = run(operator, a)
    assert [result.shape for result in results] == shapes_of_results(operator, a)
    assert all(result.dtype == dtype for result in results)


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.parametrize("operator", OPERATORS)
def test_results_do_not_depend_on_the_number_of_threads(
    operator: str, request: pytest.FixtureRequest
) -> None:
    a = arguments(operator, 64)
    many = run(operator, a)
    request.getfixturevalue("one_thread")
    assert same(run(operator, a), many)


def is_native(operator: str) -> bool:
    return ops.backends().serving(operator, "cpu").serves == "native"


def allocated(call: Callable[[], object]) -> int:
    """Bytes that the call allocates on the CPU, its result included."""
    activities = [ProfilerActivity.CPU]
    with profile(activities=activities, profile_memory=True, acc_events=True) as profiled:
        call()
    return sum(max(event.self_cpu_memory_usage, 0) for event in profiled.events())


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_kernels_copy_no_operand(operator: str, memory_format: torch.memory_format) -> None:
    if not is_native(operator):
        pytest.skip("the CPU kernel is not built")
    if operator in CHANNELS_LAST and memory_format == torch.contiguous_format:
        pytest.skip("its vectors are channels that lie side by side")
    a = tuple(
        t.to(memory_format=memory_format) if isinstance(t, Tensor) and t.dim() == 4 else t
        for t in arguments(operator, 16)
    )
    call = overload(operator)
    assert allocated(lambda: call(*a)) == sum(result.nbytes for result in run(operator, a))


def growth(call: Callable[[], object], times: int) -> int:
    """Bytes by which the process's largest size grows over so many calls."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(times):
        call()
    return 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)


# On one thread, as torch's convolutions take a hundred times as long where two wait for each other.
@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("operator", OPERATORS)
def test_calls_leave_no_memory_behind(operator: str) -> None:
    a, call = arguments(operator, 16), overload(operator)
    # What torch itself computes is slow, so it is called less often: enough to show a lost result.
    times, most = 10_000 if is_native(operator) else 2_000, 512 * 1024
    assert all(times * result.nbytes > most for result in run(operator, a))
    growth(lambda: call(*a), 200)
    # A leak grows every time, while Python's own memory may grow once.
    assert any(growth(lambda: call(*a), times) < most for _ in range(3))
