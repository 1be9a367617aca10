"""The power spectrum of a periodic density in shells of wave number.

Shells are given in units of the fundamental mode 2 pi / box, in which every squared wave number is an integer, so that
a mode on the edge of a shell falls on the same side in every precision.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core import validate as checks
from research.core.types import Array, Float
from research.mlmc import fields, painting

__all__ = ["Spectrum", "counts", "contrast", "power", "shells", "shot_noise", "wave_numbers"]


class Spectrum(NamedTuple):
    """P(k) in K shells."""

    wave_number: Float[Array, " K"]  # mean over the modes of a shell, h/Mpc
    power: Float[Array, " K"]  # (Mpc/h)^3
    modes: Float[Array, " K"]  # of both signs


def shells(mesh: int, width: float = 1.0, most: float | None = None) -> tuple[float, ...]:
    """Edges of shells of equal width, in fundamental modes: 1/2, 1/2 + width, ..., up to `most` (half the mesh)."""
    checks.positive("width", width)
    most = mesh / 2 if most is None else most
    checks.require(0.5 + width <= most <= mesh / 2, "most", f"lie in [{0.5 + width}, {mesh / 2}]", most)
    return tuple(0.5 + width * np.arange(int((most - 0.5) / width + 1e-9) + 1))


def _places(mesh: int, edges: tuple[float, ...]) -> Array:
    """For each stored mode its shell, 0, ..., K - 1, or K for none."""
    squared = fields.squared_numbers(mesh)
    bounds = jnp.asarray(np.ceil(np.square(edges)).astype(np.int32))  # n^2 >= edge^2 is n^2 >= ceil(edge^2)
    above = jnp.searchsorted(bounds, squared.reshape(-1), side="right")
    number = len(edges) - 1
    return jnp.where(above == 0, number, jnp.minimum(above - 1, number))


def _sums(values: Float[Array, " M"], mesh: int, edges: tuple[float, ...]) -> Float[Array, " K"]:
    number = len(edges) - 1
    weight = fields.half_modes(mesh).reshape(-1).astype(values.dtype)
    return jax.ops.segment_sum(values * weight, _places(mesh, edges), number + 1)[:number]


def counts(mesh: int, edges: tuple[float, ...], dtype=jnp.float32) -> Float[Array, " K"]:
    """Modes in each shell."""
    return _sums(jnp.ones(mesh * mesh * (mesh // 2 + 1), dtype), mesh, edges)


def wave_numbers(mesh: int, edges: tuple[float, ...], box: float, dtype=jnp.float32) -> Float[Array, " K"]:
    """Mean wave number of the modes in each shell, h/Mpc."""
    length = jnp.sqrt(fields.squared_numbers(mesh).reshape(-1).astype(dtype))
    return _sums(length, mesh, edges) / counts(mesh, edges, dtype) * (2 * np.pi / box)


def power(delta: Array, edges: tuple[float, ...], box: float | Float[Array, ""]) -> Spectrum:
    """P(k) of the density contrast with modes `delta`.

    Args:
      delta: `[N, N, N // 2 + 1]`, with every correction for the mesh already made.
      edges: increasing, in fundamental modes, K + 1 of them; see `shells`.
      box: side, Mpc/h.
    """
    mesh = delta.shape[-2]
    squares = (delta.real**2 + delta.imag**2).reshape(-1)
    modes = counts(mesh, edges, squares.dtype)
    scale = jnp.asarray(box, squares.dtype) ** 3 / float(mesh) ** 6
    return Spectrum(wave_numbers(mesh, edges, box, squares.dtype), _sums(squares, mesh, edges) / modes * scale, modes)


def contrast(painted: Float[Array, "N N N"]) -> Array:
    """Modes of the density contrast of painted particles, without the window of the painting; the mean is dropped."""
    return painting.deconvolved(painted / jnp.mean(painted) - 1)


def shot_noise(weights: Float[Array, "..."], box: float | Float[Array, ""]) -> Float[Array, ""]:
    """V sum w^2 / (sum w)^2, (Mpc/h)^3: the power of independent particles with these weights. Not that of particles
    which began on a lattice."""
    return jnp.asarray(box, weights.dtype) ** 3 * jnp.sum(weights**2) / jnp.sum(weights) ** 2
