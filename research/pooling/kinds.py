"""Statistic-separable kinds: what is added up over a window, and the derivative by one of its elements.

A kind is separable when its value is a function of a few sums (or largest elements) of the window; the derivative by an
element is then a function of that element and of numbers of its window, and one backward pass serves them all. With
`u = g(x)` and a coefficient `c`, every smooth kind here needs one logarithm `l = log sum exp(c u)`:

| kind      | u                | value                    | derivative by x_i                          |
|-----------|------------------|--------------------------|--------------------------------------------|
| soft      | x, c = beta      | sum w x, w = exp(c u - l)| w_i (1 + beta (x_i - y))                   |
| lme       | x, c = 1 / tau   | (l - log n) / c          | exp(c u_i - l)                             |
| lse       | x, c = 1 / tau   | l / c                    | exp(c u_i - l)                             |
| power     | log max(x, eps)  | exp((l - log n) / c)     | exp((c - 1) u_i - l + log y), 0 at x <= eps|
| lp        | log(abs x + eps) | exp(l / c)               | the same with the sign of x_i, 0 at x = 0  |

In the last two the power `c - 1` of `x` is taken as one exponential, so that no quotient of two small numbers is left.
Sources: `stergiou:21` (soft), `lee:16` (mixed), `zhang:20` (the authors' form of log-mean-exp is of `zhu:23`).
"""

from typing import NamedTuple

import jax.numpy as jnp

__all__ = ["EXPONENTIAL", "ORDER", "SUM", "Smooth", "coordinate", "exponent", "rest", "value"]

SUM = ("sum", "avg")
ORDER = ("max", "min")
EXPONENTIAL = ("soft", "lme", "lse", "power", "lp")


class Smooth(NamedTuple):
    """A smooth kind; `eps` of `power` is the smallest element, that of `lp` is added to every absolute value."""

    name: str
    eps: float = 0.0

    @property
    def logarithmic(self) -> bool:
        """Whether `u` is the logarithm of the element."""
        return self.name in ("power", "lp")


def coordinate(kind: Smooth, x: jnp.ndarray) -> jnp.ndarray:
    """`u = g(x)`; -inf where `lp` has |x| + eps = 0."""
    if kind.name == "power":
        return jnp.log(jnp.maximum(x, kind.eps))
    return jnp.log(jnp.abs(x) + kind.eps) if kind.name == "lp" else x


def value(kind: Smooth, total: jnp.ndarray, c: jnp.ndarray, n: jnp.ndarray) -> jnp.ndarray:
    """The pooled value from `l = log sum exp(c u)` and the number of elements; not for `soft`, which needs a mean."""
    log_mean = (total - jnp.log(n) if kind.name in ("lme", "power") else total) / c
    return jnp.exp(log_mean) if kind.logarithmic else log_mean


def rest(kind: Smooth, total: jnp.ndarray, y: jnp.ndarray) -> jnp.ndarray:
    """`r` of the window with derivative `factor exp(exponent - r)`; inf where there is none, as at |x| = 0 all over."""
    r = total - jnp.log(y) if kind.logarithmic else total
    return jnp.where(total == -jnp.inf, jnp.inf, r)


def exponent(kind: Smooth, x: jnp.ndarray, c: jnp.ndarray) -> tuple[jnp.ndarray, jnp.ndarray | None]:
    """The element's part of the derivative `factor exp(exponent - r)`, and the factor, or None for 1."""
    if kind.name == "power":
        inside = x > kind.eps
        factor = jnp.where(inside | jnp.isnan(x), 1.0, 0.0).astype(x.dtype)
        return (c - 1) * jnp.log(jnp.where(inside, x, 1)), factor
    if kind.name == "lp":
        size = jnp.abs(x) + kind.eps
        return (c - 1) * jnp.log(jnp.where(x == 0, 1, size)), jnp.sign(x)
    return c * x, None
