"""Which formulation serves which windows on a CPU, with what was measured: reviewed data."""

from research.pooling.geometry import Geometry

__all__ = ["smooth"]


def smooth(kind: str, geometry: Geometry, direction: str) -> str:
    shares = 1
    for k, s in zip(geometry.window, geometry.strides, strict=True):
        shares *= -(-k // s)
    return "apart" if shares == 1 else "shared"
