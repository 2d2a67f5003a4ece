"""Does a map show what the network looked at? Region perturbation after Samek et al. (2017).

The regions of a photograph that a method calls most relevant are erased first. The better the
method, the sooner the network loses sight of the class. Quantus does the erasing and the asking.

    python -m benchmarks.pixel_flipping --help
"""
