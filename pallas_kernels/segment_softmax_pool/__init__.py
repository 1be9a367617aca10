"""Softmax-weighted sums of the elements of many segments in one pass, and their gradient in another."""

from pallas_kernels.segment_softmax_pool.api import SegmentSoftmax, segment_softmax_pool

__all__ = ["SegmentSoftmax", "segment_softmax_pool"]
