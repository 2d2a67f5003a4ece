"""Prints what serves each operator, and saves what they compute, for test_fallback.py."""

import sys

import torch

from relprop import ops


def main() -> None:
    torch.manual_seed(0)
    x, x0 = torch.randn(2, 3, 5, 9, 11, dtype=torch.float64)
    m, pooled = torch.randn_like(x), torch.randn(3, 5, 5, 6, dtype=torch.float64)
    results = [
        ops.lrp_ratio(m, x0, x, bias=torch.ones(5).double(), epsilon=0.1, activation="tanh"),
        ops.rescale(m, x, x0, activation="hardtanh"),
        ops.max_pool_winner(pooled, x, x0, kernel_size=3, stride=2, padding=1),
        ops.adaptive_max_pool_winner(pooled, x),
    ]
    torch.save(results, sys.argv[1])
    for row in ops.backends().rows:
        print(row.device, row.serves, row.reason)


main()
