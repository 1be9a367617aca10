import jax
from pallas_kernels.prequential_ridge import reference, xla
from pallas_kernels.prequential_ridge.output import Output

__all__ = ["Output", "prequential_ridge"]


def prequential_ridge(features, labels, rows, *, factor, weights, block_size=None, impl=None):
    block_size = block_size or 32
    if impl == "reference":
        return reference.prequential_ridge(features, labels, rows, factor, weights)
    return xla.lockstep(features, labels, rows, factor, weights, block_size=block_size)
