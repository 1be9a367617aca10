"""The resolvent J(u) = (I + c(F + G))^{-1} u as an inclusion of its own, 0 in H(v) + c G(v), H(v) = c F(v) + v - u.

H is 1-strongly monotone and (c L + 1)-Lipschitz on average when F is monotone and L-Lipschitz on average, so every
method of this family solves it, and `certificates` says how well.
Source: `cai:24`, Section 4.
"""

import optax

from research.core.types import Array, Float
from research.halpern.inclusions import Point, Wrapped

__all__ = ["Subproblem"]


class Subproblem(Wrapped):
    """Its solution is J(center). A call of H_i is a call of F_i: the shift is free."""

    center: Point  # u
    scale: Float[Array, ""]  # c > 0

    @property
    def lipschitz(self):
        return self.scale * self.inclusion.lipschitz + 1

    @property
    def lipschitz_full(self):
        return self.scale * self.inclusion.lipschitz_full + 1

    def full(self, u):
        return optax.tree.add_scale(optax.tree.sub(u, self.center), self.scale, self.inclusion.full(u))

    def difference(self, draws, new, old):
        change = self.inclusion.difference(draws, new, old)
        return optax.tree.add_scale(optax.tree.sub(new, old), self.scale, change)

    def prox(self, v, step_size):
        return self.inclusion.prox(v, step_size * self.scale)

    def inner_loop(self):
        return self.inclusion.inner_loop(self.center, self.scale, 1.0)
