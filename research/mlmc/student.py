"""The published problem with heavy tails: every y_d an independent non-central t variate, links sin(y_0 + z) and
sin(y_1 - z), leaf y_2.

Ten degrees of freedom, non-centrality 1/2. The path is no martingale: y_2 does not depend on y_1, so gamma_2 is one
number, E y = 0.5418611540, and gamma_1 another, -0.0199570497. Source: `syed:23`, section 5, second example; the exact
values are ours, by quadrature (`tests/research/mlmc/test_walks.py`).
"""

import math

import equinox as eqx
import jax.numpy as jnp

from research.core import validate
from research.mlmc import links
from research.mlmc.problems import NestedExpectation

__all__ = ["StudentNoise", "student_noise"]


class StudentNoise(NestedExpectation):
    """A variate of each node is a normal divided by the root of a scaled chi-square, the latter from uniforms."""

    degrees: int = eqx.field(static=True)  # of freedom; even, so that the chi-square is a sum of exponentials
    shift: float = eqx.field(static=True)  # non-centrality
    exact: float | None = eqx.field(static=True)

    @property
    def kinds(self):
        return (("normal",) + ("uniform",) * (self.degrees // 2),) * 3

    @property
    def smoothness(self):
        return ("smooth", "smooth")

    @property
    def leaf_moments(self):
        """Moments of order below the degrees of freedom are finite."""
        return float(self.degrees)

    def init(self, u):
        square = -2 * jnp.log(u[1:]).sum()
        return (u[0] + self.shift) / jnp.sqrt(square / self.degrees)

    def transition(self, d, state, u):
        return self.init(u)

    def leaf(self, state):
        return state

    def link(self, d, state, z):
        return jnp.sin(state + (1, -1)[d] * z)

    def delta(self, d, state, a, b):
        sign = (1, -1)[d]
        return links.Sine().delta(state + sign * a, state + sign * b)


def student_noise(degrees: int = 10, shift: float = 0.5) -> StudentNoise:
    """The published problem by default; only there the exact value is known.

    Raises: ValueError unless `degrees` is even and at least 4 (a finite variance needs more than 2), `shift` finite.
    """
    validate.require(degrees >= 4 and degrees % 2 == 0, "degrees", "be an even number >= 4", degrees)
    validate.require(math.isfinite(shift), "shift", "be finite", shift)
    return StudentNoise(degrees, shift, 0.2611136576 if (degrees, shift) == (10, 0.5) else None)
