"""Gaussian walks with known nested expectations: y_0 = m + s_0 e_0, y_d = y_{d-1} + s_d e_d, one normal a node.

The link at depth d is a function of c_d y_d + t_d z, with c_d in {0, 1} and t_d = 1 or -1, and the leaf a function of
y_D. Values below are closed forms, confirmed by Gauss-Hermite quadrature (`tests/research/mlmc/test_walks.py`).

| name | D | links from the outside in | remarks |
|---|---|---|---|
| A1 ... A5 | 1 | z**2, exp z, sin z, max(z, 0), 1{z > 0} | A5 has no finite variance with random levels |
| E1 | 2 | sin(y_0 + z), sin(y_1 - z) | `syed:23`; gamma_1 is zero everywhere, so inner samples are wasted on it |
| E3 | 2 | sigmoid(y_0 + z), sigmoid(y_1 + z), leaf sigmoid(y_2) | `syed:23` |
| B2, B3 | 2 | (z**2, sin(y_1 + z)), (sin z, z**2) | not degenerate |
| C1, C2 | 3 | (z**2, z**2, sin(y_2 + z)), sin(y_d + z) throughout | |
"""

import cmath
import math

import equinox as eqx
import jax.numpy as jnp

from research.core.types import Array, Float
from research.mlmc import links
from research.mlmc.problems import NestedExpectation, normals

__all__ = ["NAMES", "GaussianWalk", "walk"]


class GaussianWalk(NestedExpectation):
    mean: Float[Array, ""]  # m
    scales: Float[Array, " D+1"]  # s_0, ..., s_D, >= 0
    functions: tuple[links.Link, ...]  # length D + 1, the last one the leaf's
    with_state: tuple[int, ...] = eqx.field(static=True)  # c_d, length D
    signs: tuple[int, ...] = eqx.field(static=True)  # t_d, length D
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return normals(*(1,) * len(self.functions))

    @property
    def smoothness(self):
        return tuple(function.smoothness for function in self.functions[:-1])

    def init(self, u):
        return self.mean + self.scales[0] * u[0]

    def transition(self, d, state, u):
        return state + self.scales[d] * u[0]

    def leaf(self, state):
        return self.functions[-1](state)

    def _argument(self, d, state, z):
        return self.with_state[d] * state + self.signs[d] * z

    def link(self, d, state, z):
        return self.functions[d](self._argument(d, state, z))

    def delta(self, d, state, a, b):
        return self.functions[d].delta(self._argument(d, state, a), self._argument(d, state, b))


def _b2(m, s):
    inner = math.exp(-4 * s[1] ** 2)
    return (inner - math.exp(-8 * s[0] ** 2 - 4 * s[1] ** 2) * math.cos(4 * m)) / 2


def _b3(m, s):
    spread = 1 - 2j * s[0] ** 2
    return (cmath.exp(1j * s[1] ** 2) * spread**-0.5 * cmath.exp(1j * m**2 / spread)).imag


def _c1(m, s):
    a = math.exp(-4 * s[2] ** 2) / 2
    b = a * math.exp(-8 * s[1] ** 2)
    first = 2 * a * b * math.exp(-8 * s[0] ** 2) * math.cos(4 * m)
    return a**2 - first + b**2 / 2 * (1 + math.exp(-32 * s[0] ** 2) * math.cos(8 * m))


# name: (mean, scales, functions, with_state, signs, exact value or a function of mean and scales)
_WALKS = {
    "A1": (0.5, (1.0, 1.0), (links.Square(),), (0,), (1,), lambda m, s: m**2 + s[0] ** 2),
    "A2": (0.1, (0.5, 0.8), (links.Exponential(),), (0,), (1,), lambda m, s: math.exp(m + s[0] ** 2 / 2)),
    "A3": (1.0, (0.7, 1.0), (links.Sine(),), (0,), (1,), lambda m, s: math.exp(-(s[0] ** 2) / 2) * math.sin(m)),
    "A4": (0.0, (1.0, 1.0), (links.Relu(),), (0,), (1,), 1 / math.sqrt(2 * math.pi)),
    "A5": (0.3, (1.0, 1.0), (links.Indicator(),), (0,), (1,), math.erfc(-0.3 / math.sqrt(2)) / 2),
    "E1": (math.pi / 2, (1.0, 1.0, 1.0), (links.Sine(),) * 2, (1, 1), (1, -1), math.exp(-0.5)),
    "E3": (0.0, (1.0, 1.0, 1.0), (links.Sigmoid(),) * 3, (1, 1), (1, 1), 0.6121788917032366),
    "B2": (0.4, (0.5, 0.5, 0.5), (links.Square(), links.Sine()), (0, 1), (1, 1), _b2),
    "B3": (0.3, (0.6, 0.5, 0.7), (links.Sine(), links.Square()), (0, 0), (1, 1), _b3),
    "C1": (0.25, (0.4, 0.3, 0.3, 0.4), (links.Square(), links.Square(), links.Sine()), (0, 0, 1), (1, 1, 1), _c1),
    "C2": (0.5, (0.5,) * 4, (links.Sine(),) * 3, (1, 1, 1), (1, 1, 1), 0.5643803829),
}

NAMES = tuple(_WALKS)


def walk(name: str, dtype=jnp.float32) -> GaussianWalk:
    """One of the walks of the table above, with its exact value.

    Raises: ValueError for an unknown name.
    """
    if name not in _WALKS:
        raise ValueError(f"name must be one of {', '.join(NAMES)}, got {name!r}.")
    mean, scales, functions, with_state, signs, exact = _WALKS[name]
    if len(functions) == len(with_state):
        functions = (*functions, links.Identity())
    value = exact(mean, scales) if callable(exact) else exact
    return GaussianWalk(
        jnp.asarray(mean, dtype), jnp.asarray(scales, dtype), functions, with_state, signs, float(value)
    )
