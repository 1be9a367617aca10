"""Random scores: independent experts of four kinds, and tokens that resemble their neighbours.

A model draws `[T, E]` scores, and the loads that a bias makes of them. Those of `Independent` also have densities,
which `population` integrates.
Source: none, textbook distributions.

Letters: `T` tokens, `E` experts, `K` experts per token.
"""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import ndtr

from pallas_kernels import topk_route as _kernel
from research.core import prng
from research.core import validate as checks
from research.core.types import Array, Float, Int, Key

__all__ = ["KINDS", "Clustered", "Grid", "Independent", "ScoreModel", "location_family"]

KINDS = ("normal", "uniform", "logistic", "gumbel")
#: Where the standard variable of a kind has all of its mass up to 1e-16: the ends of the grids of `population`.
_SUPPORT = {"normal": (-8.5, 8.5), "uniform": (0.0, 1.0), "logistic": (-37.0, 37.0), "gumbel": (-3.7, 37.0)}


class ScoreModel(eqx.Module):
    """Base: something to draw scores from."""

    def sample(self, key: Key, num_tokens: int) -> Float[Array, "T E"]:
        """Scores of T tokens."""
        raise NotImplementedError

    def sample_load(self, key: Key, bias: Float[Array, " E"], num_tokens: int, top_k: int) -> Int[Array, " E"]:
        """Loads of T fresh tokens under a bias."""
        scores = self.sample(key, num_tokens)
        return _kernel.topk_route(scores, bias.astype(scores.dtype), top_k).load


class Grid(NamedTuple):
    """Nodes and weights of a quadrature."""

    nodes: Float[Array, " Q"]
    weights: Float[Array, " Q"]


class Independent(ScoreModel):
    """s_k = location_k + scale_k z_k, z_k independent and standard of one kind; "uniform" is on (0, 1)."""

    location: Float[Array, " E"]
    scale: Float[Array, " E"]  # > 0
    kind: str = eqx.field(static=True, default="normal")

    def __check_init__(self):
        checks.one_of("Independent.kind", self.kind, KINDS)
        checks.finite("Independent.location", self.location)
        checks.positive("Independent.scale", self.scale)
        checks.shape("Independent.scale", self.scale, jnp.shape(self.location))

    @property
    def num_experts(self) -> int:
        return self.location.shape[-1]

    def sample(self, key: Key, num_tokens: int) -> Float[Array, "T E"]:
        shape, dtype = (num_tokens, self.num_experts), self.location.dtype
        draw = {"normal": jax.random.normal, "uniform": jax.random.uniform, "logistic": jax.random.logistic}
        standard = draw.get(self.kind, jax.random.gumbel)(key, shape, dtype)
        return self.location[None] + self.scale[None] * standard

    def mean(self) -> Float[Array, " E"]:
        """E s_k."""
        standard = {"uniform": 0.5, "gumbel": np.euler_gamma}.get(self.kind, 0.0)
        return self.location + self.scale * standard

    def survival(self, t: Float[Array, ""], shift: Float[Array, " E"]) -> Float[Array, " E"]:
        """P(s_k + shift_k > t)."""
        z = (t - shift - self.location) / self.scale
        if self.kind == "normal":
            return ndtr(-z)
        if self.kind == "uniform":
            return jnp.clip(1 - z, 0, 1)
        if self.kind == "logistic":
            return jax.nn.sigmoid(-z)
        return -jnp.expm1(-jnp.exp(-z))

    def density(self, t: Float[Array, ""], shift: Float[Array, " E"]) -> Float[Array, " E"]:
        """Density of s_k + shift_k at t."""
        z = (t - shift - self.location) / self.scale
        if self.kind == "normal":
            standard = jnp.exp(-0.5 * z**2) / np.sqrt(2 * np.pi)
        elif self.kind == "uniform":
            standard = ((z >= 0) & (z <= 1)).astype(z.dtype)
        elif self.kind == "logistic":
            standard = jax.nn.sigmoid(z) * jax.nn.sigmoid(-z)
        else:
            standard = jnp.exp(-z - jnp.exp(-z))
        return standard / self.scale

    def support(self, shift: Float[Array, " E"]) -> tuple[Float[Array, " E"], Float[Array, " E"]]:
        """Between what numbers s_k + shift_k lies, up to a probability of about 1e-16."""
        low, high = _SUPPORT[self.kind]
        return self.location + shift + self.scale * low, self.location + shift + self.scale * high

    def grid(self, shift: Float[Array, " E"], num_nodes: int) -> Grid:
        """A quadrature over the union of the supports, for products of survivals and densities of different experts.

        Trapezoids of `num_nodes` nodes for smooth kinds, whose integrands are constant at both ends, so that the error
        falls faster than any power. For "uniform", whose densities jump, Gauss-Legendre between neighbouring ends of
        supports, with as many nodes as make it exact: integrands are polynomials of degree E there.
        """
        low, high = self.support(shift)
        if self.kind != "uniform":
            start, stop = low.min(), high.max()
            nodes = start + (stop - start) * jnp.linspace(0, 1, num_nodes, dtype=low.dtype)
            weights = jnp.full(num_nodes, 1.0, low.dtype).at[jnp.array([0, -1])].set(0.5)
            return Grid(nodes, weights * (stop - start) / (num_nodes - 1))
        cuts = jnp.sort(jnp.concatenate([low, high]))
        unit, weight = np.polynomial.legendre.leggauss(self.num_experts // 2 + 1)
        half = 0.5 * jnp.diff(cuts)
        nodes = cuts[:-1, None] + half[:, None] * jnp.asarray(unit + 1, low.dtype)[None]
        return Grid(nodes.ravel(), (half[:, None] * jnp.asarray(weight, low.dtype)[None]).ravel())


def location_family(kind: str, location: Float[Array, " E"], scale: float = 1.0) -> Independent:
    """Experts that differ in location only: balanced where the bias cancels the locations."""
    location = jnp.asarray(location)
    return Independent(location, jnp.full_like(location, scale), kind)


class Clustered(ScoreModel):
    """Tokens in groups of neighbours (sequences) that share a part of their scores: loads vary more than independent.

    s_ik = base_ik + share * g_(i's group, k), g standard normal; T must be a multiple of the group's size.
    """

    base: Independent
    share: float | Float[Array, ""]  # >= 0, in score units
    size: int = eqx.field(static=True)  # tokens in a group, >= 1

    def __check_init__(self):
        checks.at_least("Clustered.size", self.size, 1)
        checks.at_least("Clustered.share", self.share, 0)

    @property
    def num_experts(self) -> int:
        return self.base.num_experts

    def sample(self, key: Key, num_tokens: int) -> Float[Array, "T E"]:
        checks.require(num_tokens % self.size == 0, "num_tokens", f"be a multiple of {self.size}", num_tokens)
        shape = (num_tokens // self.size, self.num_experts)
        common = jax.random.normal(prng.stream(key, "groups"), shape, self.base.location.dtype)
        own = self.base.sample(prng.stream(key, "tokens"), num_tokens)
        return own + self.share * jnp.repeat(common, self.size, axis=0)
