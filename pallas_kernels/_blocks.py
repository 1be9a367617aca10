"""Block sizes, the (8, 128) tiling of TPU registers, and padding."""

import dataclasses
import functools
import json
from importlib import resources

import jax
import jax.numpy as jnp

__all__ = ["BlockSizes", "LANES", "SUBLANES", "pad_axis", "round_up", "tile_misfit", "tuned"]

SUBLANES = 8
LANES = 128


@dataclasses.dataclass(frozen=True)
class BlockSizes:
    """How an operation over many independent programs is cut up.

    rows: rows of one program learnt per sequential step, >= 1.
    programs: programs advanced side by side in one sequential step, >= 1.
    """

    rows: int
    programs: int

    def __post_init__(self):
        for name in ("rows", "programs"):
            if getattr(self, name) < 1:
                raise ValueError(f"BlockSizes.{name} must be >= 1, got {getattr(self, name)}.")


def round_up(size: int, multiple: int) -> int:
    return -(-size // multiple) * multiple


def pad_axis(x: jax.Array, axis: int, size: int, value=0) -> jax.Array:
    """`x` with `axis` extended at its end to `size` by `value`."""
    if x.shape[axis] == size:
        return x
    widths = [(0, 0)] * x.ndim
    widths[axis] = (0, size - x.shape[axis])
    return jnp.pad(x, widths, constant_values=value)


def tile_misfit(shape: tuple[int, ...]) -> str | None:
    """Why the last two axes of `shape` do not fill whole TPU tiles, or None."""
    rows, columns = shape[-2:]
    if rows % SUBLANES:
        return f"{rows} rows are not a multiple of {SUBLANES}"
    if columns % LANES:
        return f"{columns} columns are not a multiple of {LANES}"
    return None


@functools.cache
def _table(operation):
    path = resources.files("pallas_kernels") / "tuned" / f"{operation}.json"
    return json.loads(path.read_text())["buckets"]


def tuned(operation: str, platform: str, dtype, width: int) -> BlockSizes:
    """The reviewed block sizes of `operation` on `platform` for the smallest bucket that holds `width`.

    Raises:
      KeyError: the table has no bucket for this platform, dtype and width.
    """
    dtype = jnp.dtype(dtype).name
    fits = [b for b in _table(operation) if b["platform"] == platform and b["dtype"] == dtype and width <= b["width"]]
    if not fits:
        raise KeyError(f"no tuned block sizes of {operation} for {platform}, {dtype}, width {width}.")
    best = min(fits, key=lambda bucket: bucket["width"])
    return BlockSizes(rows=best["rows"], programs=best["programs"])
