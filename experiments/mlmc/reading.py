"""What a row of a curve says of the blocks that READ has run for it."""

from research.core import loops

__all__ = ["summary"]


def summary(trace, block: int) -> dict:
    """Of all replicates of a trace: `mean`; `deviation`, the sum of squared deviations from it; `leaves`."""
    mean = trace.mean.mean()
    deviation = trace.m2.sum() + ((trace.mean - mean) ** 2).sum() * block
    return {"mean": mean, "deviation": deviation, "leaves": loops.approximate(trace.leaves, mean.dtype).sum()}
