"""Statistic-separable kinds: what is added up over a window, and the derivative by one of its elements.

A kind is separable when its value is a function of a few sums (or largest elements) of the window; the derivative by an
element is then a function of that element and of numbers of its window, and one backward pass serves them all. With
`u = g(x)` and a coefficient `c`, every smooth kind here needs one logarithm `l = log sum exp(c u)`, with `n` elements:

| kind  | u                  | value                      | derivative by x_i                              |
|-------|--------------------|----------------------------|------------------------------------------------|
| soft  | x, c = beta        | sum w x, w = exp(c u - l)  | w_i (1 + beta (x_i - y))                       |
| lme   | x, c = 1 / tau     | (l - log n) / c            | exp(c u_i - l)                                 |
| lse   | x, c = 1 / tau     | l / c                      | exp(c u_i - l)                                 |
| power | log max(x, eps)    | exp((l - log n) / c)       | exp((c - 1) u_i - l + log y), 0 where x <= eps |
| lp    | log(abs(x) + eps)  | exp(l / c)                 | the same with the sign of x_i, 0 at x = 0      |

In the last two the power `c - 1` of `x` is one exponential, so that no quotient of two small numbers is left. The
derivative by `c` needs a weighted mean of the window, `sum w u`, and for `soft` its weighted variance.
"""

from typing import NamedTuple

import jax.numpy as jnp

__all__ = [
    "EXPONENTIAL", "ORDER", "SUM", "Smooth", "coordinate", "exponent", "factor", "rest", "size", "slope", "value",
]  # fmt: skip

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

    @property
    def averages(self) -> bool:
        """Whether the number of elements is divided by."""
        return self.name in ("lme", "power")


def size(kind: Smooth, x: jnp.ndarray) -> jnp.ndarray:
    """What a logarithmic kind takes the logarithm of, >= 0."""
    return jnp.maximum(x, kind.eps) if kind.name == "power" else jnp.abs(x) + kind.eps


def coordinate(kind: Smooth, x: jnp.ndarray) -> jnp.ndarray:
    """`u = g(x)`; -inf where `lp` has |x| + eps = 0."""
    return jnp.log(size(kind, x)) if kind.logarithmic else x


def value(kind: Smooth, log_total: jnp.ndarray, c: jnp.ndarray, n: jnp.ndarray) -> jnp.ndarray:
    """The pooled value from `l` and the number of elements; not for `soft`, which needs a mean."""
    root = (log_total - jnp.log(n) if kind.averages else log_total) / c
    return jnp.exp(root) if kind.logarithmic else root


def rest(kind: Smooth, log_total: jnp.ndarray, y: jnp.ndarray) -> jnp.ndarray:
    """`r` of the window with derivative `factor exp(exponent - r)`; inf where there is none, as at |x| = 0 all over."""
    r = log_total - jnp.log(y) if kind.logarithmic else log_total
    return jnp.where(log_total == -jnp.inf, jnp.inf, r)


def exponent(kind: Smooth, x: jnp.ndarray, c: jnp.ndarray) -> jnp.ndarray:
    """The element's part of the derivative `factor exp(exponent - r)`; finite where the factor is 0."""
    if not kind.logarithmic:
        return c * x
    inside = x > kind.eps if kind.name == "power" else x != 0
    return (c - 1) * jnp.log(size(kind, jnp.where(inside | jnp.isnan(x), x, 1)))


def factor(kind: Smooth, x: jnp.ndarray) -> jnp.ndarray:
    """What multiplies the derivative: 1, the sign of `lp`, 0 where `power` does not look at the element."""
    if kind.name == "power":
        return jnp.where((x > kind.eps) | jnp.isnan(x), 1, 0).astype(x.dtype)
    return jnp.sign(x) if kind.name == "lp" else jnp.ones((), x.dtype)


def slope(kind: Smooth, y: jnp.ndarray, mean: jnp.ndarray, log_total: jnp.ndarray, c: jnp.ndarray, n: jnp.ndarray):
    """Derivative of `value` by `c`, from the weighted mean of `u`."""
    root = (log_total - jnp.log(n) if kind.averages else log_total) / c
    return (mean - root) / c * (y if kind.logarithmic else 1)
