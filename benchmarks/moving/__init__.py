"""What changing an import gives: zennit's own example script and an evaluation by Quantus.

`python -m benchmarks.moving` writes the table of benchmarks/results/moving.
"""
