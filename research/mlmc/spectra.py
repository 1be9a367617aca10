"""The power spectrum of a periodic density in shells of wave number.

Shells are given in units of the fundamental mode 2 pi / box, in which every squared wave number is an integer, so that
a mode on the edge of a shell falls on the same side in every precision.
"""

import functools
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
    """For each stored mode its shell, 0, ..., K - 1, or K for none: looked up by its squared number."""
    squared = np.arange(3 * (mesh // 2) ** 2 + 1)
    shell = np.searchsorted(np.square(edges), squared, side="right") - 1
    table = np.where((shell < 0) | (shell >= len(edges) - 1), len(edges) - 1, shell).astype(np.int32)
    return jnp.asarray(table)[fields.squared_numbers(mesh).reshape(-1)]


@functools.lru_cache(maxsize=16)
def _tally(mesh: int, edges: tuple[float, ...]) -> tuple[np.ndarray, np.ndarray]:
    """On the host, plane by plane: modes in each shell, and the sum of their lengths in fundamental modes."""
    number = np.concatenate([np.arange(mesh // 2), np.arange(-(mesh // 2), 0)]) ** 2
    modes, lengths = np.zeros(len(edges) - 1), np.zeros(len(edges) - 1)
    for x in number:
        length = np.sqrt(x + number[:, None] + number[None, :]).reshape(-1)
        modes += np.histogram(length, edges)[0]
        lengths += np.histogram(length, edges, weights=length)[0]
    return modes, lengths


def counts(mesh: int, edges: tuple[float, ...]) -> np.ndarray:
    """Modes in each shell, of both signs, `[K]`."""
    return _tally(mesh, tuple(edges))[0]


def wave_numbers(mesh: int, edges: tuple[float, ...], box: float) -> Float[Array, " K"]:
    """Mean wave number of the modes in each shell, h/Mpc."""
    modes, lengths = _tally(mesh, tuple(edges))
    return jnp.asarray(lengths / modes * 2 * np.pi, jnp.asarray(box).dtype) / box


def power(delta: Array, edges: tuple[float, ...], box: float | Float[Array, ""]) -> Spectrum:
    """P(k) of the density contrast with modes `delta`.

    Args:
      delta: `[N, N, N // 2 + 1]`, with every correction for the mesh already made.
      edges: increasing, in fundamental modes, K + 1 of them; see `shells`.
      box: side, Mpc/h.
    """
    mesh = delta.shape[-2]
    squares = (delta.real**2 + delta.imag**2).reshape(-1)
    modes = jnp.asarray(counts(mesh, edges), squares.dtype)
    weighted = squares * fields.half_modes(mesh).reshape(-1).astype(squares.dtype)
    total = jax.ops.segment_sum(weighted, _places(mesh, edges), len(edges))[:-1]
    scale = jnp.asarray(box, squares.dtype) ** 3 / float(mesh) ** 6
    return Spectrum(wave_numbers(mesh, edges, jnp.asarray(box, squares.dtype)), total / modes * scale, modes)


def contrast(painted: Float[Array, "N N N"]) -> Array:
    """Modes of the density contrast of painted particles, without the window of the painting; the mean is dropped."""
    return painting.deconvolved(painted / jnp.mean(painted) - 1)


def shot_noise(weights: Float[Array, "..."], box: float | Float[Array, ""]) -> Float[Array, ""]:
    """V sum w^2 / (sum w)^2, (Mpc/h)^3: the power of independent particles with these weights. Not that of particles
    which began on a lattice."""
    return jnp.asarray(box, weights.dtype) ** 3 * jnp.sum(weights**2) / jnp.sum(weights) ** 2
