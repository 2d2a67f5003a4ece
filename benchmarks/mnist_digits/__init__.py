"""Which pixels make an 8 an 8 and not a 3? The digit experiment of Shrikumar et al. (2017), 4.1.

A method of explanation ranks the pixels of a digit by what they say for its class and against
another; the best of them are erased. The better the method, the more the network changes its mind.

    python -m benchmarks.mnist_digits --help
"""
