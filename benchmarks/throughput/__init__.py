"""How many pictures a second go from files to relevance on disk, and where the time goes.

`make throughput`, or `python -m benchmarks.throughput`.
"""
