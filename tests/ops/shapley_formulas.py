"""Shapley values by their definitions, written without a look at the package's code."""

import itertools
import math
from collections.abc import Callable

import torch
from operator_formulas import Window, windows
from torch import Tensor


def over_all_orders(x: Tensor, x0: Tensor) -> Tensor:
    """The mean, over all orders in which the inputs may move, of what each does to the maximum."""
    count = len(x)
    orders = torch.tensor(list(itertools.permutations(range(count))))
    state = x0.expand(len(orders), count).clone()
    gains = torch.zeros(len(orders), count, dtype=torch.float64)
    worth = state.amax(1)
    for mover in orders.unbind(1):
        state.scatter_(1, mover[:, None], x[mover, None])
        gains.scatter_(1, mover[:, None], (state.amax(1) - worth)[:, None])
        worth = state.amax(1)
    return gains.mean(0)


def over_all_coalitions(x: Tensor, x0: Tensor) -> Tensor:
    """Shapley 1953: sum over S without i of |S|! (k - |S| - 1)! / k! (v(S and i) - v(S))."""
    k = len(x)
    coalitions = torch.arange(2**k)
    members = (coalitions[:, None] >> torch.arange(k)) & 1
    worth = torch.where(members == 1, x, x0).amax(1)
    factorials = [
        math.factorial(s) * math.factorial(k - s - 1) / math.factorial(k) for s in range(k)
    ]
    weight = torch.tensor([*factorials, 0.0], dtype=torch.float64)[members.sum(1)]
    phi = torch.zeros(k, dtype=torch.float64)
    for i in range(k):
        without = coalitions[members[:, i] == 0]
        phi[i] = (weight[without] * (worth[without + 2**i] - worth[without])).sum()
    return phi


def max_pool_shapley(
    positive: Tensor, negative: Tensor, x: Tensor, x0: Tensor, window_of: Callable[..., Window]
) -> Tensor:
    """m * phi_i / (x_i - x0_i), summed over windows; the limit where nothing changed."""
    result = torch.zeros(x.shape, dtype=torch.float64)
    x0 = x0.expand_as(x)
    for n, c, o in windows(positive):
        places = [(n, c, *place) for place in window_of(o)]
        a, r = (torch.stack([t[place] for place in places]) for t in (x, x0))
        rise, fall = positive[(n, c, *o)], negative[(n, c, *o)]
        phi = over_all_coalitions(a, r)
        for i, place in enumerate(places):
            if a[i] != r[i]:
                result[place] += (rise if a[i] > r[i] else fall) * phi[i] / (a[i] - r[i])
            elif a.tolist().index(a.max()) == r.tolist().index(r.max()) == i:
                result[place] += (rise + fall) / 2
    return result


def max_pool_shapley_parts(
    like: Tensor, x: Tensor, x0: Tensor, window_of: Callable[..., Window]
) -> tuple[Tensor, Tensor]:
    """The sums of phi over what rose and what fell, for the windows of a pool's output."""
    rises, falls = torch.zeros_like(like), torch.zeros_like(like)
    x0 = x0.expand_as(x)
    for n, c, o in windows(like):
        places = [(n, c, *place) for place in window_of(o)]
        a, r = (torch.stack([t[place] for place in places]) for t in (x, x0))
        phi = over_all_coalitions(a, r)
        rises[(n, c, *o)] = phi[a > r].sum()
        falls[(n, c, *o)] = phi[a < r].sum()
    return rises, falls
