"""Optimal stopping as a nested expectation: every link is a maximum.

On the dates 0, ..., D one may stop and take the reward h_d(y_d), or go on. With a discount factor per date, the value
gamma_0 is given by

    gamma_D = E[h_D(y_D) | y_{D-1}],    gamma_d = E[max(h_d(y_d), discount gamma_{d+1}) | y_{d-1}].

READ on such a problem is the estimator that `zhou-muse:23` calls MUSE: unbiased for the value of the best stopping
rule, while a rule found by regression (`regression.longstaff_schwartz`) can only stay below it. Maxima have corners, so
that admissible levels are those of the class "kink".
"""

import equinox as eqx
import jax.numpy as jnp

from research.core.types import Array, Float
from research.mlmc import links
from research.mlmc.problems import NestedExpectation

__all__ = ["OptimalStopping", "powers"]


class OptimalStopping(NestedExpectation):
    """Base class: a subclass draws the states (`init`, `transition`) and says what stopping pays."""

    discount: eqx.AbstractVar[Float[Array, ""]]  # factor from one date to the one before, > 0

    def reward(self, d: int, state) -> Float[Array, ""]:
        """h_d: what stopping at date d pays, in money of date d."""
        raise NotImplementedError

    def features(self, d: int, state) -> Float[Array, " F"]:
        """Functions of the state of which regression makes the value of going on; about 1 in size, the first one 1."""
        raise NotImplementedError

    @property
    def smoothness(self):
        return ("kink",) * self.depth

    def leaf(self, state):
        return self.reward(self.depth, state)

    def link(self, d, state, z):
        return links.Maximum(self.reward(d, state))(self.discount * z)

    def delta(self, d, state, a, b):
        return links.Maximum(self.reward(d, state)).delta(self.discount * a, self.discount * b)


def powers(x: Float[Array, ""], degree: int) -> Float[Array, " F"]:
    """1, x, ..., x**degree."""
    return jnp.stack([x**k for k in range(degree + 1)])
