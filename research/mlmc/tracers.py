"""Galaxies as thinned particles: kept with a probability that depends on the density around them.

A stand-in for a halo occupation that needs no halo finder. `step` rises with the density like the occupation by central
galaxies, as for luminous red galaxies; `peak` falls again in the densest places, as for emission-line galaxies, which
avoid them. A particle's coin depends on its lattice point alone, so a simulation and its surrogate thin alike.
Source: the two shapes follow `zheng:05` and `alam:20`, with the density in place of the halo mass.
"""

from typing import Literal, get_args

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float, Key
from research.mlmc import painting

__all__ = ["Occupation", "density_at", "probability", "thinned"]

_SHAPES = Literal["step", "peak"]


class Occupation(eqx.Module):
    """Probability of a particle to be a galaxy, by the density in units of its mean."""

    shape: _SHAPES = eqx.field(static=True, default="step")
    density: float | Float[Array, ""] = 5.0  # where a step is half as high as it gets, or where a peak is; > 0
    width: float | Float[Array, ""] = 0.5  # in decades of density, > 0
    most: float | Float[Array, ""] = 1.0  # highest probability, in (0, 1]

    def __check_init__(self):
        checks.one_of("Occupation.shape", self.shape, get_args(_SHAPES))
        for name in ("density", "width", "most"):
            checks.positive(f"Occupation.{name}", getattr(self, name))
        checks.in_range("Occupation.most", self.most, 0, 1)


def density_at(positions: Float[Array, "3 ..."], mesh: int) -> Float[Array, "..."]:
    """Density in units of the mean at the particles themselves, painted on `mesh`^3 points; > 0."""
    painted = painting.paint(positions, mesh)
    return painting.read((painted / jnp.mean(painted))[None], positions)[0]


def probability(occupation: Occupation, density: Float[Array, "..."]) -> Float[Array, "..."]:
    """Of being a galaxy, in [0, most], for densities > 0 in units of the mean."""
    distance = jnp.log10(density / occupation.density) / occupation.width
    shape = (1 + jax.lax.erf(distance)) / 2 if occupation.shape == "step" else jnp.exp(-(distance**2) / 2)
    return occupation.most * shape


def thinned(key: Key, chance: Float[Array, "..."]) -> Float[Array, "..."]:
    """1 for the particles that are kept and 0 for the others, with the given chances; each draws its own coin."""
    coin = jax.random.uniform(key, chance.shape)  # 23 bits in either precision: the same coins
    return (coin < chance).astype(chance.dtype)
