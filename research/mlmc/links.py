"""Links g and their second differences without cancellation.

A multilevel estimator takes Delta = g((a + b)/2) - (g(a) + g(b))/2 for means a, b that come closer as 2**(-n/2), and
multiplies it by a number that grows nearly as 2**(3n/2). In float32 the plain formula keeps no digit beyond n of about
15 (`tests/research/mlmc/test_links.py` measures it). With M = (a + b)/2 and h = (a - b)/2 the forms below are products.

The identities are elementary; those for sine, cosine, exponential, square and logarithm are also in the note of every
class.
"""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp

from research.core.types import Array, Float
from research.mlmc.problems import direct_delta

__all__ = [
    "Cosine", "Exponential", "Identity", "Indicator", "Link", "Log", "Maximum", "MaxOver", "Relu", "Sigmoid", "Sine",
    "Square", "smooth_delta",
]  # fmt: skip

#: Below this |h| / (1 + |M|), `smooth_delta` takes the second-order term: there both errors are about 1e-4 in float32.
_CLOSE = 0.03


class Link(eqx.Module):
    """A function of one number with its stable second difference; `smoothness` is a word of `problems.SMOOTHNESS`."""

    smoothness: eqx.AbstractClassVar[str]

    def __call__(self, z: Float[Array, "..."]) -> Float[Array, "..."]:
        raise NotImplementedError

    def delta(self, a: Float[Array, "..."], b: Float[Array, "..."]) -> Float[Array, "..."]:
        """g((a + b)/2) - (g(a) + g(b))/2."""
        raise NotImplementedError


def _middle(a, b):
    return (a + b) / 2, (a - b) / 2


def smooth_delta(g: Callable, a: Float[Array, ""], b: Float[Array, ""]) -> Float[Array, ""]:
    """The second difference of any scalar function with two derivatives: -g''(M) h**2 / 2 where h is small (relative
    error of the order h**2), the plain difference elsewhere. For one number; `vmap` it.
    """
    middle, half = _middle(a, b)
    one = jnp.ones_like(middle)

    def slope(z):
        return jax.jvp(g, (z,), (one,))[1]

    curvature = jax.jvp(slope, (middle,), (one,))[1]
    return jnp.where(jnp.abs(half) < _CLOSE * (1 + jnp.abs(middle)), -curvature * half**2 / 2, direct_delta(g, a, b))


class Identity(Link):
    """z; Delta is zero."""

    smoothness = "smooth"

    def __call__(self, z):
        return z

    def delta(self, a, b):
        return jnp.zeros_like(a)


class Sine(Link):
    """sin z; Delta = 2 sin(M) sin(h/2)**2."""

    smoothness = "smooth"

    def __call__(self, z):
        return jnp.sin(z)

    def delta(self, a, b):
        middle, half = _middle(a, b)
        return 2 * jnp.sin(middle) * jnp.sin(half / 2) ** 2


class Cosine(Link):
    """cos z; Delta = 2 cos(M) sin(h/2)**2."""

    smoothness = "smooth"

    def __call__(self, z):
        return jnp.cos(z)

    def delta(self, a, b):
        middle, half = _middle(a, b)
        return 2 * jnp.cos(middle) * jnp.sin(half / 2) ** 2


class Exponential(Link):
    """exp z; Delta = -2 exp(M) sinh(h/2)**2."""

    smoothness = "smooth"

    def __call__(self, z):
        return jnp.exp(z)

    def delta(self, a, b):
        middle, half = _middle(a, b)
        return -2 * jnp.exp(middle) * jnp.sinh(half / 2) ** 2


class Square(Link):
    """z**2; Delta = -h**2."""

    smoothness = "quadratic"

    def __call__(self, z):
        return z**2

    def delta(self, a, b):
        return -(((a - b) / 2) ** 2)


class Log(Link):
    """log z for z > 0; Delta = -log1p(-(h/M)**2) / 2. Its second derivative is unbounded at 0: the class is a promise
    of the user that z stays away from there.
    """

    smoothness = "smooth"

    def __call__(self, z):
        return jnp.log(z)

    def delta(self, a, b):
        middle, half = _middle(a, b)
        return -jnp.log1p(-((half / middle) ** 2)) / 2


class Sigmoid(Link):
    """1/(1 + exp(-z)); Delta = tanh(M/2) q**2 / (2 (1 + q**2)) with q = sinh(h/2) / cosh(M/2)."""

    smoothness = "smooth"

    def __call__(self, z):
        return jax.nn.sigmoid(z)

    def delta(self, a, b):
        middle, half = _middle(a, b)
        ratio = jnp.sinh(half / 2) / jnp.cosh(middle / 2)
        return jnp.tanh(middle / 2) * ratio**2 / (2 * (1 + ratio**2))


def _relu_delta(a, b):
    return jnp.where((a < 0) != (b < 0), -jnp.minimum(jnp.abs(a), jnp.abs(b)) / 2, jnp.zeros_like(a))


class Relu(Link):
    """max(z, 0); Delta = -min(|a|, |b|)/2 where the signs differ, else zero."""

    smoothness = "kink"

    def __call__(self, z):
        return jnp.maximum(z, 0)

    def delta(self, a, b):
        return _relu_delta(a, b)


class Maximum(Link):
    """max(level, z), as of an option that may be exercised for `level`."""

    level: Float[Array, ""]
    smoothness = "kink"

    def __call__(self, z):
        return jnp.maximum(self.level, z)

    def delta(self, a, b):
        return _relu_delta(a - self.level, b - self.level)


class MaxOver(Link):
    """The largest entry of a vector z `[K]`. Delta is zero where a and b have the same largest entry: nothing else is
    cancelled, since max_k is linear there.
    """

    smoothness = "kink"

    def __call__(self, z):
        return jnp.max(z, axis=-1)

    def delta(self, a, b):
        best_a, best_b = jnp.argmax(a), jnp.argmax(b)
        # Entries relative to the best of a: the maxima of a and of the middle are then zero or small.
        a, b = a - a[best_a], b - b[best_a]
        middle = (a + b) / 2
        return jnp.where(best_a == best_b, jnp.zeros_like(a[0]), jnp.max(middle) - (jnp.max(a) + jnp.max(b)) / 2)


class Indicator(Link):
    """1 where z > 0. Randomized levels have infinite variance here: methods refuse it unless told otherwise."""

    smoothness = "discontinuous"

    def __call__(self, z):
        return (z > 0).astype(z.dtype)

    def delta(self, a, b):
        return direct_delta(self, a, b)
