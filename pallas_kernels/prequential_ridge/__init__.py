"""Exact prequential ridge regression in blocks, many independent programs at once."""

from pallas_kernels.prequential_ridge.api import Output, compact, prequential_ridge

__all__ = ["Output", "compact", "prequential_ridge"]
