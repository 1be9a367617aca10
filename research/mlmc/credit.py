"""Credit valuation adjustment (CVA): what the possible default of the other side takes off a contract's value.

On one of the dates t_1 < ... < t_n = maturity the other side is found to have defaulted, with the probabilities of a
constant hazard. One then loses the share 1 - recovery of what the contract is worth, if it is worth something:

    CVA = (1 - recovery) E[1{tau <= maturity} max(V_tau, 0)],    V_t = E[discounted payment at maturity | S_t].

The date of default is part of y_0; the inner mean is the contract's value, the link max(z, 0). The contract is a
forward to buy one asset, a geometric Brownian motion, for `strike` at maturity, so that its exposures are Black and
Scholes' calls and the sum over dates is exact.
"""

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from research.core import validate
from research.core.types import Array, Float
from research.mlmc import links
from research.mlmc.options import black_scholes, log_growth
from research.mlmc.problems import NestedExpectation

__all__ = ["ForwardAdjustment", "default_probabilities", "exposures", "forward_adjustment"]


class ForwardAdjustment(NestedExpectation):
    initial: Float[Array, ""]  # price at time 0, > 0
    strike: Float[Array, ""]
    rate: Float[Array, ""]
    volatility: Float[Array, ""]
    times: Float[Array, " N"]  # t_1 < ... < t_N = maturity
    cumulative: Float[Array, " N"]  # probability of default by t_i, given default by maturity; the last one is 1
    loss: Float[Array, ""]  # (1 - recovery) times the probability of default by maturity
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return (("uniform", "normal"), ("normal",))

    @property
    def smoothness(self):
        return ("kink",)

    def init(self, u):
        """The date of default given that it comes, its probability is in `loss`, and the price on that date."""
        time = self.times[jnp.minimum(jnp.sum(u[0] > self.cumulative), len(self.times) - 1)]
        return time, log_growth(self.rate, self.volatility, time, u[1])

    def transition(self, d, state, u):
        time, moved = state
        # After a default at maturity nothing is random any more: the square root of zero time.
        left = jnp.maximum(self.times[-1] - time, 0)
        return time, moved + log_growth(self.rate, self.volatility, left, u[0])

    def leaf(self, state):
        """What the forward pays, discounted to time 0."""
        maturity = self.times[-1]
        return jnp.exp(-self.rate * maturity) * (self.initial * jnp.exp(state[1]) - self.strike)

    def link(self, d, state, z):
        return self.loss * links.Relu()(z)

    def delta(self, d, state, a, b):
        return self.loss * links.Relu().delta(a, b)


def forward_adjustment(
    times=(0.5, 1.0, 1.5, 2.0),
    *,
    initial: float = 100.0,
    strike: float = 100.0,
    rate: float = 0.03,
    volatility: float = 0.25,
    hazard: float = 0.04,
    recovery: float = 0.4,
    dtype=jnp.float32,
) -> ForwardAdjustment:
    """CVA of a forward, with its exact value.

    Args:
      times: increasing, > 0; the last one is the maturity.
      initial, strike, volatility, hazard: > 0; the hazard is a rate per unit of time.
      recovery: in [0, 1).

    Raises: ValueError for a number out of range.
    """
    dates = np.asarray(times, np.float64)
    ordered = dates.ndim == 1 and len(dates) >= 1 and np.isfinite(dates).all() and np.all(np.diff(dates, prepend=0) > 0)
    validate.require(bool(ordered), "times", "be positive and increasing", times)
    for name, value in (("initial", initial), ("strike", strike), ("volatility", volatility), ("hazard", hazard)):
        validate.positive(name, value)
    validate.finite("rate", rate)
    validate.require(0 <= recovery < 1, "recovery", "lie in [0, 1)", recovery)
    probability = default_probabilities(dates, hazard)
    exposure = exposures(dates, initial, strike, rate, volatility)
    exact = (1 - recovery) * float(probability @ exposure)
    total = probability.sum()
    numbers = (initial, strike, rate, volatility, dates, np.cumsum(probability) / total, (1 - recovery) * total)
    return ForwardAdjustment(*(jnp.asarray(number, dtype) for number in numbers), exact)


def default_probabilities(times, hazard: float) -> np.ndarray:
    """Probability of default between the date before and each date: exp(-hazard t_{i-1}) - exp(-hazard t_i)."""
    survival = np.exp(-hazard * np.asarray(times, np.float64))
    return -np.diff(survival, prepend=1.0)


def exposures(times, initial: float, strike: float, rate: float, volatility: float) -> np.ndarray:
    """exp(-rate t) E max(V_t, 0) on each date: a call with maturity t on what the forward will cost then."""
    times = np.asarray(times, np.float64)
    due = strike * np.exp(-rate * (times[-1] - times))
    return black_scholes(initial, due, rate, volatility, times, call=True)
