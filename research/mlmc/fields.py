"""Gaussian fields on periodic meshes from white noise that two simulators, or two resolutions, can share.

The noise is drawn mode by mode, each from its integer wave vector alone. So the mode (1, 0, -2) is the same number on a
mesh of 32 and on one of 256, on any device, in any order; only modes with a component of exactly half the mesh differ.
A simulation and its surrogate that are given one key live in the same universe.

Fourier convention: that of `fourier`, f(x) = mesh^-3 sum_k f_k exp(i k x); the density contrast
of a box of volume V has <|delta_k|^2> = mesh^6 P(k) / V.
Source: draws by Threefry, `salmon:11`.
"""

import math

import jax
import jax.numpy as jnp

from pallas_kernels._threefry import threefry_2x32
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key
from research.mlmc import words

__all__ = ["MOST", "density", "half_modes", "modes", "squared_numbers", "wave_vector", "white_noise"]

#: Largest mesh: the three components of a mode share a 30 bit counter.
MOST = 1 << 10


def modes(mesh: int) -> tuple[Int[Array, "N 1 1"], Int[Array, "1 N 1"], Int[Array, "1 1 H"]]:
    """Integer wave numbers along the axes in the order of `rfftn`: 0, ..., N/2 - 1, -N/2, ..., -1; last 0, ..., N/2."""
    place = jnp.arange(mesh, dtype=jnp.int32)
    full = jnp.where(place < mesh // 2, place, place - mesh)
    return full[:, None, None], full[None, :, None], jnp.arange(mesh // 2 + 1, dtype=jnp.int32)[None, None, :]


def squared_numbers(mesh: int) -> Int[Array, "N N H"]:
    """Squared length of the integer wave vectors."""
    x, y, z = modes(mesh)
    return x**2 + y**2 + z**2


def wave_vector(mesh: int, box: float | Float[Array, ""], dtype) -> tuple[Float[Array, "..."], ...]:
    """Wave vector along the axes, h/Mpc, as three arrays that broadcast. The components at half the mesh are 0: they
    have no sign, and a derivative of a real field has none there."""
    unit = jnp.asarray(2 * math.pi / box, dtype)
    return tuple(jnp.where(jnp.abs(n) == mesh // 2, 0, n).astype(dtype) * unit for n in modes(mesh))


def half_modes(mesh: int) -> Int[Array, "N N H"]:
    """How often each stored mode counts among all of them: twice, but for the planes that hold their own conjugates."""
    last = modes(mesh)[2]
    own = (last == 0) | (last == mesh // 2)
    return jnp.broadcast_to(jnp.where(own, 1, 2), (mesh, mesh, mesh // 2 + 1))


def white_noise(key: Key, mesh: int, dtype=jnp.float32) -> Array:
    """Modes of white noise, complex `[mesh, mesh, mesh // 2 + 1]`, of a real field, each with mean square 1.

    Args:
      key: of kind threefry2x32; the modes are a function of it and of their wave vectors.
      mesh: even, from 2 to `MOST`.
      dtype: of the real part; the draws have 23 bits in either precision.

    Raises:
      ValueError: an odd or too large mesh.
    """
    checks.require(2 <= mesh <= MOST and mesh % 2 == 0, "mesh", f"be even and lie in [2, {MOST}]", mesh)
    seed = jax.random.key_data(key)
    # Half the mesh counts as negative everywhere, as `fftfreq` has it, so that a mode and its mirror image agree.
    vector = [jnp.where(n == mesh // 2, -n, n) for n in modes(mesh)]
    mirrored = [jnp.where(n == -(mesh // 2), n, -n) for n in vector]
    real, imaginary = _normals(seed, vector, dtype)
    real_mirrored, imaginary_mirrored = _normals(seed, mirrored, dtype)
    # Gaussian on every mode, then made Hermitian: w(k) = (z(k) + conj z(-k)) / sqrt 2 with <|z|^2> = 1.
    return jax.lax.complex((real + real_mirrored) / 2, (imaginary - imaginary_mirrored) / 2)


def _normals(seed, vector, dtype) -> tuple[Array, Array]:
    """Two standard normals for each wave vector: its 30 bits are the counter."""
    x, y, z = ((n + MOST // 2).astype(jnp.uint32) for n in vector)
    counter = (x << 20) | (y << 10) | z
    pair = threefry_2x32((seed[0], seed[1]), (jnp.zeros_like(counter), counter))
    return tuple(words.normal(word, dtype) for word in pair)


def density(noise: Array, spectrum: Array, box: float | Float[Array, ""]) -> Array:
    """Modes of the density contrast whose power spectrum is `spectrum`, from modes of white noise.

    Args:
      noise: `white_noise(key, mesh)`.
      spectrum: `[mesh, mesh, mesh // 2 + 1]`, (Mpc/h)^3, at the length of each wave vector.
      box: side, Mpc/h.

    Returns:
      modes `[mesh, mesh, mesh // 2 + 1]`; the mean and the modes at half the mesh are 0.
    """
    mesh = noise.shape[-2]
    kept = jnp.stack(jnp.broadcast_arrays(*(jnp.abs(n) < mesh // 2 for n in modes(mesh)))).all(axis=0)
    kept &= squared_numbers(mesh) > 0
    scale = jnp.where(kept, jnp.sqrt(spectrum / jnp.asarray(box, spectrum.dtype) ** 3), 0)
    return noise * (scale * mesh**3)
