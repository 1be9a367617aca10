"""Sums over the innermost children of many nodes, whose random numbers are made on the spot."""

from pallas_kernels.nested_leaf.api import nested_leaf

__all__ = ["nested_leaf"]
