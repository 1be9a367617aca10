"""Displacements of particles from a lattice by Lagrangian perturbation theory of first (Zel'dovich) and second order.

x = q + D psi_1(q) + D_2 psi_2(q), with psi_1 = -grad phi, lap phi = delta, and psi_2 = grad phi_2,
lap phi_2 = sum_{i<j} (phi_ii phi_jj - phi_ij^2). Exact for a plane wave until it crosses.
Source: `zeldovich:70`; second order `bouchet:95`, in the convention of `scoccimarro:98`. The product of the second
order is formed on the mesh without padding, as is usual: its shortest waves are aliased.
"""

import jax.numpy as jnp

from research.core.types import Array, Float
from research.mlmc import fields, fourier
from research.mlmc.cosmology import Cosmology, expansion, growth, growth_rate, second_growth, second_growth_rate

__all__ = ["first_order", "gradient", "inverse_laplacian", "particles", "second_order"]


def inverse_laplacian(source: Array, box: float | Float[Array, ""]) -> Array:
    """Modes of phi with lap phi = source, mean 0, for modes `[..., N, N, N // 2 + 1]`."""
    mesh = source.shape[-2]
    unit = jnp.asarray(2 * jnp.pi / box, source.real.dtype)
    squared = fields.squared_numbers(mesh).astype(source.real.dtype) * unit**2
    return jnp.where(squared > 0, -source / jnp.where(squared > 0, squared, 1), 0)


def gradient(potential: Array, box: float | Float[Array, ""]) -> Float[Array, "3 N N N"]:
    """grad phi on the mesh, from modes of phi."""
    vector = fields.wave_vector(potential.shape[-2], box, potential.real.dtype)
    return jnp.stack([fourier.backward(1j * component * potential) for component in vector])


def first_order(delta: Array, box: float | Float[Array, ""]) -> Float[Array, "3 N N N"]:
    """psi_1 in Mpc/h at the lattice points, for modes of the linear density today."""
    return -gradient(inverse_laplacian(delta, box), box)


def second_order(delta: Array, box: float | Float[Array, ""]) -> Float[Array, "3 N N N"]:
    """psi_2 in Mpc/h at the lattice points, for modes of the linear density today."""
    mesh = delta.shape[-2]
    potential = inverse_laplacian(delta, box)
    vector = fields.wave_vector(mesh, box, delta.real.dtype)

    def second(i, j):
        return fourier.backward(-vector[i] * vector[j] * potential)

    diagonal = [second(i, i) for i in range(3)]
    source = diagonal[0] * diagonal[1] + (diagonal[0] + diagonal[1]) * diagonal[2]
    source -= second(0, 1) ** 2 + second(0, 2) ** 2 + second(1, 2) ** 2
    return gradient(inverse_laplacian(fourier.forward(source), box), box)


def particles(
    cosmology: Cosmology, delta: Array, box: float | Float[Array, ""], a: float | Float[Array, ""], *, order: int = 2
) -> tuple[Float[Array, "3 N N N"], Float[Array, "3 N N N"]]:
    """Where the particles of a lattice are, and how fast.

    Args:
      delta: modes of the linear density today, `[N, N, N // 2 + 1]`.
      box: side, Mpc/h.
      a: scale factor, in (0, 1].
      order: 1 (Zel'dovich) or 2.

    Returns:
      displacements from the lattice in Mpc/h, and momenta a^3 E dx/da in H_0 Mpc/h.
    """
    if order not in (1, 2):
        raise ValueError(f"order must be 1 or 2, got {order}.")
    a = jnp.asarray(a, delta.real.dtype)
    to_momentum = a**2 * expansion(cosmology, a)  # a^3 E D' = a^2 E f D
    first = growth(cosmology, a) * first_order(delta, box)
    displacement, momentum = first, to_momentum * growth_rate(cosmology, a) * first
    if order == 2:
        second = second_growth(cosmology, a) * second_order(delta, box)
        displacement += second
        momentum += to_momentum * second_growth_rate(cosmology, a) * second
    return displacement, momentum
