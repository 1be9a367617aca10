"""Particles to a periodic mesh and back by clouds in cells (CIC).

`paint` and `read` are adjoint: each particle spreads over the eight mesh points around it, and reads a field with the
same weights. Mass is conserved, and a particle does not pull itself. Positions are in mesh spacings, any real number.
Source: `hockney:88`. On GPUs the scatter adds in no fixed order: the last bits of a painted mesh may differ from run to
run there; on CPUs and TPUs they do not.
"""

import itertools

import jax
import jax.numpy as jnp

from research.core.types import Array, Float
from research.mlmc import fields, fourier

__all__ = ["deconvolved", "lattice", "paint", "read", "window"]

#: Particles that are painted or read at once.
_BLOCK = 1 << 16


def lattice(particles: int, mesh: int, dtype=jnp.float32) -> Float[Array, "3 N N N"]:
    """Positions of `particles`^3 lattice points, in spacings of a mesh of `mesh`^3 points."""
    at = jnp.arange(particles, dtype=dtype) * (mesh / particles)
    return jnp.stack(jnp.meshgrid(at, at, at, indexing="ij"))


def _cells(positions: Float[Array, "3 P"], mesh: int):
    """The lower corner of each particle's cell, and the shares of the lower and upper corner along each axis."""
    floor = jnp.floor(positions)
    share = positions - floor
    return floor.astype(jnp.int32) % mesh, (1 - share, share)


def _in_blocks(positions: Float[Array, "3 P"], *others: Array) -> tuple[Array, ...]:
    """Particles `[blocks, 3, B]` and what belongs to them, filled up with zeros: memory is for one block at a time.

    A TPU stores an array `[P, 2, 2, 2]` with its last axes filled up to (8, 128): of 256^3 particles, 137 GB.
    """
    number = positions.shape[1]
    size = min(number, _BLOCK)
    missing = -number % size
    positions = jnp.pad(positions, ((0, 0), (0, missing))).reshape(3, -1, size).swapaxes(0, 1)
    return positions, *(jnp.pad(x, (0, missing)).reshape(-1, size) for x in others)


def paint(
    positions: Float[Array, "3 ..."], mesh: int, weights: Float[Array, "..."] | None = None
) -> Float[Array, "N N N"]:
    """Sum of the particles' weights (1 if None) at the points of a mesh; its total is the total weight."""
    positions = positions.reshape(3, -1)
    weights = jnp.ones_like(positions[0]) if weights is None else weights.reshape(-1)
    # Each particle is one update of 2 x 2 x 2 points, on a mesh with a margin that is folded back: an index for each
    # particle and not for each corner is twice as fast.
    layout = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2, 3), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1, 2)
    )

    def add(painted, block):
        low, share = _cells(block[0], mesh)
        x, y, z = (jnp.stack([share[0][axis], share[1][axis]], axis=-1) for axis in range(3))
        clouds = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :] * block[1][:, None, None, None]
        bounds = jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS
        return jax.lax.scatter_add(painted, low.T, clouds, layout, mode=bounds), None

    painted = jnp.zeros((mesh + 1,) * 3, positions.dtype)
    painted, _ = jax.lax.scan(add, painted, _in_blocks(positions, weights))
    for axis in range(3):
        margin = jax.lax.slice_in_dim(painted, mesh, mesh + 1, axis=axis)
        inner = jax.lax.slice_in_dim(painted, 0, mesh, axis=axis)
        first = jax.lax.slice_in_dim(inner, 0, 1, axis=axis) + margin
        painted = jax.lax.dynamic_update_slice_in_dim(inner, first, 0, axis=axis)
    return painted


def read(values: Float[Array, "C N N N"], positions: Float[Array, "3 ..."]) -> Float[Array, "C ..."]:
    """Fields at the particles, interpolated with the weights with which they are painted."""
    mesh, flat = values.shape[-1], positions.reshape(3, -1)

    def cpu(flat):  # the fields of a point side by side: one look-up for all
        return _looked_up(mesh, values.reshape(values.shape[0], -1).T, flat).T

    def default(flat):  # which a TPU would fill up to 128
        fields_alone = [field.reshape(-1) for field in values]
        (blocks,) = _in_blocks(flat)
        found = jax.lax.map(lambda at: jnp.stack([_looked_up(mesh, field, at) for field in fields_alone]), blocks)
        return found.swapaxes(0, 1).reshape(values.shape[0], -1)[:, : flat.shape[1]]

    found = jax.lax.platform_dependent(flat, cpu=cpu, default=default)
    return found.reshape(values.shape[:1] + positions.shape[1:])


def _looked_up(mesh, rows, positions):
    """Rows `[N^3, ...]` at positions `[3, B]`."""
    low, share = _cells(positions, mesh)
    index = (low, jnp.where(low == mesh - 1, 0, low + 1))
    found = jnp.zeros(low.shape[1:] + rows.shape[1:], rows.dtype)
    for sides in itertools.product((0, 1), repeat=3):
        x, y, z = (index[side][axis] for axis, side in enumerate(sides))
        weight = share[sides[0]][0] * share[sides[1]][1] * share[sides[2]][2]
        found += rows[(x * mesh + y) * mesh + z] * weight.reshape(weight.shape + (1,) * (rows.ndim - 1))
    return found


def window(mesh: int, dtype=jnp.float32) -> Float[Array, "N N H"]:
    """What CIC multiplies modes with: prod sinc(n_i / mesh)^2, in [0.06, 1]."""
    x, y, z = (jnp.sinc(n.astype(dtype) / mesh) ** 2 for n in fields.modes(mesh))
    return x * y * z


def deconvolved(painted: Float[Array, "N N N"]) -> Array:
    """Modes `[N, N, N // 2 + 1]` of a painted mesh divided by the window: exact for a smooth density, and without
    remedy against its aliases, which matter in the upper half of the modes."""
    return fourier.forward(painted) / window(painted.shape[-1], painted.dtype)
