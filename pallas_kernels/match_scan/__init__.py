"""Online matching by the closed-form rounding, many replicates at once, with the same bits on every backend."""

from pallas_kernels.match_scan.api import match_scan
from pallas_kernels.match_scan.plan import Output, Plan

__all__ = ["Output", "Plan", "match_scan"]
