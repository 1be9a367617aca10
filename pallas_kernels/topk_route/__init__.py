"""Which experts each token takes: the k largest of a row of biased scores, and how many tokens each expert gets."""

from pallas_kernels.topk_route.api import TopkRoute, topk_route

__all__ = ["TopkRoute", "topk_route"]
