"""What an explanation costs, in time and in memory, beside a gradient of the same model.

The unit of time is G: one forward pass and one pass back to the input, parameters frozen, of the
same model on the same input in the same process. Ours, other packages' and the gradient take turns;
peak memory is measured in a process of its own each.

    python -m benchmarks.cost --help
"""
