"""From a fractional solution to proposal rates: the rescaling h, survival probabilities, and rates that realise them.

Node i is to be free before time t with probability q_it = 1 - h(y_it), where y_it is the mass that `x` gave it earlier.
A free node that proposes at rate r_it = (h(y_i,t+1) - h(y_it)) / (p_t q_it), and leaves with probability p_t when it
does, has exactly these survival probabilities; convexity of h with h(1) = 1 keeps r in [0, 1] for feasible `x`.
Source: `braverman:24` (rescaling and its parameters); the general-type rates are derived here.

Letters: `n` offline nodes, `T` times, `J` types.
"""

import equinox as eqx
import jax.numpy as jnp

from research.core import validate as checks
from research.core.types import Array, Float
from research.matching import bounds, problems

__all__ = [
    "EDGE", "NSW", "VERTEX", "Rescaling", "consumed", "half_rates", "proposal_rates", "survival",
]  # fmt: skip

#: Below this chance that an arrival meets a free node, the node does not propose.
NEGLIGIBLE = 1e-12
#: Rates that exceed 1 by more than this, and not by the rounding of y, mean that `x` is not feasible.
RATE_TOLERANCE = 1e-4


class Rescaling(eqx.Module):
    """h(y) = (1 - eps) min(y, theta) + (1 + delta) max(y - theta, 0), theta = delta / (eps + delta), so that h(1) = 1.

    Slower while a node is fresh, faster once it is nearly used up. `eps` in [0, 1) and `delta` >= 0 are traced, both
    positive or both 0; 0 is the identity.
    """

    eps: Float[Array, ""] | float
    delta: Float[Array, ""] | float

    def __check_init__(self):
        bounds.validate_rescaling(self.eps, self.delta)

    @property
    def threshold(self) -> Float[Array, ""]:
        """theta, in (0, 1]: where the slope changes from 1 - eps to 1 + delta; 1 for the identity."""
        total = jnp.asarray(self.eps + self.delta)
        return jnp.where(total > 0, self.delta / jnp.where(total > 0, total, 1), 1)

    def __call__(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """h(y) for y in [0, 1]."""
        return self.increment(jnp.zeros_like(y), y)

    def increment(self, y: Float[Array, "..."], mass: Float[Array, "..."]) -> Float[Array, "..."]:
        """h(y + mass) - h(y) without the cancellation of the two."""
        steep = jnp.clip(y + mass - jnp.asarray(self.threshold, y.dtype), 0, mass)
        return (1 - self.eps) * (mass - steep) + (1 + self.delta) * steep

    def remaining(self, y: Float[Array, "..."]) -> Float[Array, "..."]:
        """1 - h(y), to relative accuracy of 1 - y."""
        return jnp.minimum(1 - (1 - self.eps) * y, (1 + self.delta) * (1 - y))


#: Edge weights: 0.678 of LP-OnOpt (`braverman:24`).
EDGE = Rescaling(0.11, 0.18)
#: The parameters with which `bins` has 0.652 (`naor:25`).
NSW = Rescaling(0.0480, 0.0643)
#: Vertex weights: no rescaling.
VERTEX = Rescaling(0.0, 0.0)


def consumed(x: Float[Array, "n T *J"]) -> Float[Array, "n T+1"]:
    """y: mass that `x` gave each node before each time, all types together; column 0 is 0."""
    return jnp.pad(jnp.cumsum(_of_times(x), axis=1), ((0, 0), (1, 0)))


def survival(x: Float[Array, "n T *J"], rescaling: Rescaling = VERTEX) -> Float[Array, "n T+1"]:
    """q = 1 - h(y): probability that a node is free before each time, in every mode that keeps the marginals."""
    return jnp.clip(rescaling.remaining(consumed(x)), 0, 1)


def proposal_rates(
    problem: problems.Problem, x: Float[Array, "n T *J"], rescaling: Rescaling = EDGE, *, validate: bool = True
) -> Float[Array, "n T *J"]:
    """r in [0, 1]: how often a free node proposes at a time (to a type), so that its survival is `survival(x, h)`.

    The rescaled mass of a time is split over types in proportion to `x`. Where p_t q_it <= 1e-12 the rate is 0.

    A quotient above 1 is cut to 1. Adding up T entries of `x` leaves y uncertain by about T units in the last place of
    1, and where 1 - y is as small as that, an `x` that is feasible to rounding has quotients far above 1. What such a
    cut takes from node i at time t is at most (1e-4 q_it + T eps) p_t, in probability; its chance of being free then
    stays that much higher. `x` that asks for more is refused: `relaxation.repair` makes any array feasible.

    Args:
      x: feasible for LP-OnOpt, as `relaxation.solve` and `relaxation.repair` leave it.
      validate: refuse concrete `x` that is infeasible by more than 1e-4, or that a larger cut would be needed for.

    Raises: ValueError naming the entry; traced arrays are cut but not checked.
    """
    if validate:
        problems.validate_allocation(problem, x)
    x = jnp.asarray(x, problem.arrivals.dtype)
    before = consumed(x)[:, :-1]
    mass = _of_times(x)
    used = rescaling.increment(before, mass)
    if problem.typed:
        used = jnp.where(mass[..., None] > 0, x / jnp.where(mass > 0, mass, 1)[..., None], 0) * used[..., None]
        before = before[..., None]
    chance = problem.arrivals[None] * jnp.clip(rescaling.remaining(before), 0, 1)
    if validate:
        rounding = problem.num_steps * jnp.finfo(x.dtype).eps * problem.arrivals[None]
        certain = jnp.maximum(used - rounding, 0) / jnp.maximum(chance, NEGLIGIBLE)
        checks.in_range("proposal rates", certain, 0, 1 + RATE_TOLERANCE)
    rates = jnp.where(chance > NEGLIGIBLE, used / jnp.where(chance > NEGLIGIBLE, chance, 1), 0)
    return jnp.clip(rates, 0, 1)


def half_rates(problem: problems.Problem, x: Float[Array, "n T *J"]) -> Float[Array, "n T *J"]:
    """x_it / (p_t (2 - y_it)): the offers of the half-approximation, for mode "single" of `rounding`.

    Node i is picked with probability x_it / p_t and, if free, accepts with probability 1 / (2 - y_it); then
    P[i matched to t] = x_it / 2 exactly. With the ex-ante optimum for `x` this is the 1/2 prophet inequality.
    """
    left = 2 - consumed(x)[:, :-1]
    arrivals = problem.arrivals[None]
    shares = jnp.where(arrivals > 0, x / jnp.where(arrivals > 0, arrivals, 1), 0)
    return jnp.clip(shares / (left[..., None] if problem.typed else left), 0, 1)


def _of_times(x):
    return jnp.sum(x, axis=2) if x.ndim == 3 else x
