"""Prequential ridge on a TPU: which of two layouts serves a call.

`kernel_tpu_lanes` gives each program one lane: it needs many programs, and then nothing comes near it while 128 states
fit in VMEM, up to d = 112. `kernel_tpu_tiles` gives each program whole registers and the matrix unit: for few programs
and for wide features.
"""

from pallas_kernels import _blocks
from pallas_kernels.prequential_ridge import kernel_tpu_lanes, kernel_tpu_tiles

__all__ = ["layout", "prequential_ridge", "unsupported", "vmem_bytes"]

_TILES_CYCLES = 40  # of the tile layout per row and program, by the compiler's estimate for d < 128


def layout(num_programs, width, sizes):
    """The module that serves a call, and its sizes.

    Lanes if `sizes.programs` is a multiple of 128, if they fit, and if there are programs enough: all 128 lanes cost
    what one costs, about one cycle per register of P and row.
    """
    if sizes.programs % _blocks.LANES == 0:
        lanes = kernel_tpu_lanes.fitting(width, num_programs, sizes)
        registers = width * _blocks.round_up(width, _blocks.SUBLANES) // _blocks.SUBLANES
        if lanes is not None and num_programs * _TILES_CYCLES > registers + _TILES_CYCLES:
            return kernel_tpu_lanes, lanes
    return kernel_tpu_tiles, kernel_tpu_tiles.fitting(width, num_programs, sizes)


def unsupported(features, labels, rows, factor, weights, *, sizes):
    """Why the kernel cannot serve these arguments, in the caller's terms, or None."""
    if features.dtype != "float32":
        return f"features are {features.dtype}, the kernel computes in float32"
    if sizes.rows % _blocks.SUBLANES or sizes.rows > _blocks.LANES:
        return f"block_size={sizes.rows} is not a multiple of {_blocks.SUBLANES} up to {_blocks.LANES}"
    return kernel_tpu_tiles.too_wide(features.shape[1], sizes)


def vmem_bytes(width, sizes):
    """On-chip memory of one grid step of as many programs."""
    module, sizes = layout(sizes.programs, width, sizes)
    return module.vmem_bytes(width, sizes)


def prequential_ridge(features, labels, rows, factor, weights, *, sizes, interpret=False):
    """Same contract as `api.prequential_ridge`; float32 only. `interpret` as in `pl.pallas_call`."""
    module, sizes = layout(len(rows), features.shape[1], sizes)
    return module.prequential_ridge(features, labels, rows, factor, weights, sizes=sizes, interpret=interpret)
