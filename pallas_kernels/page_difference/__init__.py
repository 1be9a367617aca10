"""The difference of a batch of gradients of a linear model at two points."""

from pallas_kernels.page_difference.api import page_difference

__all__ = ["page_difference"]
