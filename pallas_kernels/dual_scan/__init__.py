"""The backward and the forward sweep over time of many stopping problems that share prices."""

from pallas_kernels.dual_scan.api import dual_scan

__all__ = ["dual_scan"]
