"""Pooling over windows by statistics that add up, and its gradient, each in one pass over memory."""

from pallas_kernels.window_stats.api import why_not, window_stats

__all__ = ["why_not", "window_stats"]
