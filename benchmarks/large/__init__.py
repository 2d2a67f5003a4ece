"""What explaining images costs that never fit into memory, by their size.

Run `python -m benchmarks.large`; results go to `benchmarks/results/large`.
"""
