"""Everything that takes a GPU, by one command on a machine that has one and perhaps no network.

It builds the kernels in place, runs the tests that are marked `gpu`, runs the kernels under
compute-sanitizer, and times operators and networks; a part that fails is shown as failed and stops
no other. Nothing here needs more than torch, numpy and pytest.

    python -m benchmarks.gpu --help
"""
