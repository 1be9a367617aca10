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
from research.mlmc import fields

__all__ = ["deconvolved", "lattice", "paint", "read", "window"]


def lattice(particles: int, mesh: int, dtype=jnp.float32) -> Float[Array, "3 N N N"]:
    """Positions of `particles`^3 lattice points, in spacings of a mesh of `mesh`^3 points."""
    at = jnp.arange(particles, dtype=dtype) * (mesh / particles)
    return jnp.stack(jnp.meshgrid(at, at, at, indexing="ij"))


def _cells(positions: Float[Array, "3 P"], mesh: int):
    """The lower corner of each particle's cell, and the shares of the lower and upper corner along each axis."""
    floor = jnp.floor(positions)
    share = positions - floor
    return floor.astype(jnp.int32) % mesh, (1 - share, share)


def paint(
    positions: Float[Array, "3 ..."], mesh: int, weights: Float[Array, "..."] | None = None
) -> Float[Array, "N N N"]:
    """Sum of the particles' weights (1 if None) at the points of a mesh; its total is the total weight."""
    low, share = _cells(positions.reshape(3, -1), mesh)
    # Each particle is one update of 2 x 2 x 2 points, on a mesh with a margin that is folded back: an index for each
    # particle and not for each corner is twice as fast.
    x, y, z = (jnp.stack([share[0][axis], share[1][axis]], axis=-1) for axis in range(3))
    clouds = x[:, :, None, None] * y[:, None, :, None] * z[:, None, None, :]
    if weights is not None:
        clouds *= weights.reshape((-1, 1, 1, 1))
    layout = jax.lax.ScatterDimensionNumbers(
        update_window_dims=(1, 2, 3), inserted_window_dims=(), scatter_dims_to_operand_dims=(0, 1, 2)
    )
    empty = jnp.zeros((mesh + 1,) * 3, positions.dtype)
    painted = jax.lax.scatter_add(empty, low.T, clouds, layout, mode=jax.lax.GatherScatterMode.PROMISE_IN_BOUNDS)
    for axis in range(3):
        margin = jax.lax.slice_in_dim(painted, mesh, mesh + 1, axis=axis)
        inner = jax.lax.slice_in_dim(painted, 0, mesh, axis=axis)
        first = jax.lax.slice_in_dim(inner, 0, 1, axis=axis) + margin
        painted = jax.lax.dynamic_update_slice_in_dim(inner, first, 0, axis=axis)
    return painted


def read(values: Float[Array, "C N N N"], positions: Float[Array, "3 ..."]) -> Float[Array, "C ..."]:
    """Fields at the particles, interpolated with the weights with which they are painted."""
    mesh = values.shape[-1]
    rows = values.reshape(values.shape[0], -1).T  # the fields of a point side by side: one look-up for all
    low, share = _cells(positions.reshape(3, -1), mesh)
    index = (low, jnp.where(low == mesh - 1, 0, low + 1))
    found = jnp.zeros((low.shape[1], values.shape[0]), values.dtype)
    for sides in itertools.product((0, 1), repeat=3):
        x, y, z = (index[side][axis] for axis, side in enumerate(sides))
        weight = share[sides[0]][0] * share[sides[1]][1] * share[sides[2]][2]
        found += rows[(x * mesh + y) * mesh + z] * weight[:, None]
    return found.T.reshape(values.shape[:1] + positions.shape[1:])


def window(mesh: int, dtype=jnp.float32) -> Float[Array, "N N H"]:
    """What CIC multiplies modes with: prod sinc(n_i / mesh)^2, in [0.06, 1]."""
    x, y, z = (jnp.sinc(n.astype(dtype) / mesh) ** 2 for n in fields.modes(mesh))
    return x * y * z


def deconvolved(painted: Float[Array, "N N N"]) -> Array:
    """Modes `[N, N, N // 2 + 1]` of a painted mesh divided by the window: exact for a smooth density, and without
    remedy against its aliases, which matter in the upper half of the modes."""
    return jnp.fft.rfftn(painted, axes=fields.AXES) / window(painted.shape[-1], painted.dtype)
