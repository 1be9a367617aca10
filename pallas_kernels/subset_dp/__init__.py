"""The best online policy's value of every set of free nodes, backwards over all times."""

from pallas_kernels.subset_dp.api import subset_dp

__all__ = ["subset_dp"]
