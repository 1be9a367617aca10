"""Monotone inclusions: find u with 0 in F(u) + G(u), where F = (1/n) sum_i F_i and G is known through its prox.

An inclusion is a pytree of arrays with six abilities; every method of this family works on any of them. Points `u` are
pytrees of arrays (a matrix game's is a pair), all of one dtype.

Letters: `n` components, `b` draws, `I` indices that make one draw (1, or 2 where row and column are drawn apart).
Source: `cai:24`.
"""

import abc
from typing import Any

import equinox as eqx
import jax
import optax

from research.core import validate
from research.core.types import Array, Float, Int, Key

__all__ = ["Inclusion", "Point", "Problem", "Wrapped", "natural_residual"]

Point = Any  # a pytree of floating arrays


class Inclusion(eqx.Module):
    """What a method may ask of a problem. One evaluation of one F_i at one point is one oracle call."""

    num_components: eqx.AbstractVar[int]  # n >= 1, static; F costs n calls
    num_indices: eqx.AbstractVar[int]  # I, static
    cocoercive: eqx.AbstractVar[bool]  # static; cocoercive on average (class A), else monotone and Lipschitz (class B)
    lipschitz: eqx.AbstractVar[Float[Array, ""]]  # L, on average under the sampling law
    lipschitz_full: eqx.AbstractVar[Float[Array, ""]]  # L_F, of F itself; an upper estimate where no formula is known

    @abc.abstractmethod
    def full(self, u: Point) -> Point:
        """F(u): n calls."""

    @abc.abstractmethod
    def difference(self, draws: Int[Array, "b I"], new: Point, old: Point) -> Point:
        """Mean over the draws of (F_i(new) - F_i(old)) / (n q_i), an unbiased F(new) - F(old): 2 b calls."""

    @abc.abstractmethod
    def sample(self, key: Key, shape: tuple[int, ...]) -> Int[Array, "*shape I"]:
        """Independent draws from the sampling law q."""

    @abc.abstractmethod
    def prox(self, v: Point, step_size: Float[Array, ""]) -> Point:
        """(I + step_size G)^{-1} v, for step_size > 0: the projection where G is a normal cone."""

    @property
    def index_limits(self) -> tuple[int, ...]:
        """Indices of a draw lie in [0, limit), one limit for each of the `I`."""
        return (self.num_components,) * self.num_indices

    def inner_loop(self, center: Point | None = None, scale=1.0, shift=0.0) -> Any:
        """scale F(u) + shift (u - center) as `pallas_kernels.vr_forb_game` takes it; None for what is no game."""
        return None


class Wrapped(Inclusion):
    """All abilities of another inclusion, but for its inner loop; a subclass changes some of them."""

    inclusion: Inclusion

    @property
    def num_components(self):
        return self.inclusion.num_components

    @property
    def num_indices(self):
        return self.inclusion.num_indices

    @property
    def index_limits(self):
        return self.inclusion.index_limits

    @property
    def cocoercive(self):
        return self.inclusion.cocoercive

    @property
    def lipschitz(self):
        return self.inclusion.lipschitz

    @property
    def lipschitz_full(self):
        return self.inclusion.lipschitz_full

    def full(self, u):
        return self.inclusion.full(u)

    def difference(self, draws, new, old):
        return self.inclusion.difference(draws, new, old)

    def sample(self, key, shape):
        return self.inclusion.sample(key, shape)

    def prox(self, v, step_size):
        return self.inclusion.prox(v, step_size)


class Problem(eqx.Module):
    """An inclusion and where to start, which is also the first anchor; the start may lie outside the domain of G."""

    inclusion: Inclusion
    start: Point  # u0

    def __check_init__(self):
        for leaf in jax.tree.leaves(self.start):
            validate.finite("Problem.start", leaf)


def natural_residual(inclusion: Inclusion, u: Point, step_size: float = 1.0) -> Float[Array, ""]:
    """|u - prox_{sG}(u - s F(u))| / s, zero exactly at solutions. Costs n calls, of the monitoring."""
    moved = inclusion.prox(optax.tree.add_scale(u, -step_size, inclusion.full(u)), step_size)
    return optax.tree.norm(optax.tree.sub(u, moved)) / step_size
