"""Probability that a portfolio's expected loss at a horizon exceeds a level: a nested expectation with a jump.

    P(E[loss | S_h] > level) = E[1{E[loss | S_h] - level > 0}].

Inner samples near the jump change the indicator by one however many there are: second moments of differences fall as
2**(-n/2) only, slower than their cost grows. Randomized levels have infinite variance here, and READ refuses the
problem; deterministic multilevel Monte Carlo is biased but works (`giles-risk:19`). The portfolio is of European
options written on one asset, so that the losses are Black and Scholes' and the probability is exact.
"""

import functools

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from research.core import validate
from research.core.types import Array, Float
from research.mlmc import links
from research.mlmc.options import black_scholes, log_growth
from research.mlmc.problems import NestedExpectation, normals

__all__ = ["LossProbability", "exceedance", "loss_probability"]

#: Standard deviations of the horizon's price within which crossings of the level are looked for, and grid points there.
_REACH, _GRID = 10.0, 4001


class LossProbability(NestedExpectation):
    """The outer move is under the real-world drift, the inner one under the pricing measure."""

    initial: Float[Array, ""]
    drift: Float[Array, ""]  # real-world growth rate of the price
    rate: Float[Array, ""]
    volatility: Float[Array, ""]
    horizon: Float[Array, ""]
    maturity: Float[Array, ""]
    strikes: Float[Array, " J"]
    signs: Float[Array, " J"]  # 1 for a call, -1 for a put
    amounts: Float[Array, " J"]  # options held; negative ones are owed
    start: Float[Array, ""]  # value of the portfolio at time 0, carried to the horizon at the riskless rate
    level: Float[Array, ""]
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return normals(1, 1)

    @property
    def smoothness(self):
        return ("discontinuous",)

    def init(self, u):
        return log_growth(self.drift, self.volatility, self.horizon, u[0])

    def transition(self, d, state, u):
        return state + log_growth(self.rate, self.volatility, self.maturity - self.horizon, u[0])

    def leaf(self, state):
        """Loss beyond the level, in money of the horizon."""
        price = self.initial * jnp.exp(state)
        payoff = jnp.sum(self.amounts * jnp.maximum(self.signs * (price - self.strikes), 0))
        return self.start - jnp.exp(-self.rate * (self.maturity - self.horizon)) * payoff - self.level

    def link(self, d, state, z):
        return links.Indicator()(z)


def loss_probability(
    strikes=(90.0, 110.0),
    kinds=("put", "call"),
    amounts=(-1.0, -1.0),
    *,
    level: float = 3.0,
    initial: float = 100.0,
    drift: float = 0.08,
    rate: float = 0.03,
    volatility: float = 0.2,
    horizon: float = 0.1,
    maturity: float = 0.5,
    dtype=jnp.float32,
) -> LossProbability:
    """A portfolio of options with one maturity and its exact probability of loss; the default is a strangle owed.

    Args:
      strikes, amounts: `[J]`, strikes > 0.
      kinds: "call" or "put" for each.
      level: of the loss at the horizon.
      horizon, maturity: 0 < horizon < maturity.

    Raises: ValueError for a number out of range.
    """
    validate.same_length(strikes=strikes, kinds=kinds, amounts=amounts)
    for kind in kinds:
        validate.one_of("kinds", kind, ("call", "put"))
    for name, value in (("strikes", strikes), ("initial", initial), ("volatility", volatility), ("horizon", horizon)):
        validate.positive(name, value)
    validate.require(maturity > horizon, "maturity", f"lie beyond the horizon {horizon}", maturity)
    for name, value in (("amounts", amounts), ("level", level), ("drift", drift), ("rate", rate)):
        validate.finite(name, value)
    signs = np.array([1.0 if kind == "call" else -1.0 for kind in kinds])
    prices, held = np.asarray(strikes, np.float64), np.asarray(amounts, np.float64)
    value = functools.partial(_value, strikes=prices, signs=signs, amounts=held, rate=rate, volatility=volatility)
    start = float(value(initial, left=maturity) * np.exp(rate * horizon))

    def loss(normal):
        growth = (drift - volatility**2 / 2) * horizon + volatility * np.sqrt(horizon) * normal
        return start - value(initial * np.exp(growth), left=maturity - horizon)

    numbers = (initial, drift, rate, volatility, horizon, maturity, prices, signs, held, start, level)
    return LossProbability(*(jnp.asarray(number, dtype) for number in numbers), exceedance(loss, level))


def exceedance(loss, level: float) -> float:
    """P(loss(Z) > level) for a standard normal Z, from the points where a continuous loss crosses the level.

    Args:
      loss: of numbers `[X]`; crossings closer than 0.005 to each other are missed.
    """
    grid = np.linspace(-_REACH, _REACH, _GRID)
    above = loss(grid) > level
    turns = np.flatnonzero(above[1:] != above[:-1])
    roots = [optimize.brentq(lambda z: float(loss(z) - level), grid[k], grid[k + 1], xtol=1e-13) for k in turns]
    edges = np.concatenate([[-np.inf], roots, [np.inf]])
    inside = np.concatenate([above[:1], above[1:][turns]])
    return float(np.diff(special.ndtr(edges))[inside].sum())


def _value(price, *, strikes, signs, amounts, rate, volatility, left):
    """The portfolio at prices of any shape, `left` before maturity."""
    options = zip(strikes, signs, amounts, strict=True)
    return sum(amount * black_scholes(price, k, rate, volatility, left, call=bool(s > 0)) for k, s, amount in options)
