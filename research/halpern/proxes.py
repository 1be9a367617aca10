"""What G may be: proximal operators as pytrees, `prox(v, step_size)` = (I + step_size G)^{-1} v for step_size > 0.

Each acts on one array; `Product` pairs them with the leaves of a point.
Source: `parikh:14`, chapter 6.
"""

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core import validate
from research.core.types import Array, Float
from research.halpern import projections
from research.halpern.inclusions import Point

__all__ = ["Box", "L1", "Nothing", "Product", "Prox", "Simplex"]


class Prox(eqx.Module):
    """A proximal operator."""

    def __call__(self, v: Point, step_size: float | Float[Array, ""]) -> Point:
        """The point u with v in u + step_size G(u)."""
        raise NotImplementedError


class Nothing(Prox):
    """G = 0."""

    def __call__(self, v, step_size):
        return v


class Box(Prox):
    """G the normal cone of [low, high], entries of which may be infinite."""

    low: Float[Array, "*D"]
    high: Float[Array, "*D"]

    def __check_init__(self):
        if validate.is_concrete(self.low, self.high):
            low, high = jnp.asarray(self.low), jnp.asarray(self.high)
            fits = bool(jnp.all(low <= high))  # False for NaN
            validate.require(fits, "Box.low", "be <= Box.high everywhere", f"{self.low} and {self.high}")

    def __call__(self, v, step_size):
        return jnp.clip(v, jnp.asarray(self.low, v.dtype), jnp.asarray(self.high, v.dtype))


class L1(Prox):
    """G the subdifferential of weight * |u|_1, weight >= 0."""

    weight: float | Float[Array, ""]

    def __check_init__(self):
        validate.at_least("L1.weight", self.weight, 0)

    def __call__(self, v, step_size):
        least = jnp.asarray(step_size * self.weight, v.dtype)
        return jnp.sign(v) * jnp.maximum(jnp.abs(v) - least, 0)


class Simplex(Prox):
    """G the normal cone of {u >= 0, sum u = radius}."""

    radius: float | Float[Array, ""] = 1.0

    def __check_init__(self):
        validate.positive("Simplex.radius", self.radius)

    def __call__(self, v, step_size):
        return projections.simplex(v, jnp.asarray(self.radius, v.dtype))


class Product(Prox):
    """One operator per leaf of the point, in a tree of the same structure."""

    parts: Point

    def __call__(self, v, step_size):
        is_prox = lambda part: isinstance(part, Prox)  # noqa: E731
        return jax.tree.map(lambda part, leaf: part(leaf, step_size), self.parts, v, is_leaf=is_prox)
