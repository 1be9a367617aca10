"""A balanced tree whose operator is a symmetric pair of GRU steps, all its levels on the chip."""

from pallas_kernels.monoid_tree.api import monoid_tree

__all__ = ["monoid_tree"]
