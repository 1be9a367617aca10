"""Bermudan puts on the mean of M assets, and their values to ten digits where one number drives the reward.

The assets are geometric Brownian motions under the pricing measure, started at fixed prices: over one interval between
exercise dates log S_i gains (rate - volatility_i**2 / 2) interval + volatility_i sqrt(interval) Z_i, with standard
normal Z_i of one correlation. The put pays max(strike - mean, 0) on any of the dates 0, 1, ..., n, once.

The geometric mean of assets with equal volatilities is a geometric Brownian motion itself; so is one asset. For these
`put_value` integrates backwards in time. The arithmetic mean has no such value; `regression.longstaff_schwartz` bounds
it from below.
"""

import math

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from scipy import optimize, special

from research.core import validate
from research.core.types import Array, Float
from research.mlmc.problems import normals
from research.mlmc.stopping import OptimalStopping, powers

__all__ = ["MEANS", "BermudanPut", "bermudan_put", "black_scholes", "log_growth", "put_value"]

MEANS = ("arithmetic", "geometric")
#: Standard deviations of one interval beyond which the density is taken as zero (1e-32 is left).
_REACH = 12.0
#: Gauss-Legendre points between the exercise boundary and the far end, in each of the `_PANELS` parts.
_POINTS, _PANELS = 40, 12


def log_growth(drift, volatility, time, normal):
    """log S(t) / S(0) of a geometric Brownian motion, from a standard normal."""
    return (drift - volatility**2 / 2) * time + volatility * jnp.sqrt(time) * normal


class BermudanPut(OptimalStopping):
    initial: Float[Array, " M"]  # prices at date 0, > 0
    strike: Float[Array, ""]
    rate: Float[Array, ""]  # riskless, continuously compounded, per unit of time
    volatility: Float[Array, " M"]  # per square root of a unit of time, > 0
    correlation: Float[Array, ""]  # of any two assets, in [0, 1)
    interval: Float[Array, ""]  # time between exercise dates
    exercises: int = eqx.field(static=True)  # n; date 0 comes on top
    mean: str = eqx.field(static=True)  # of MEANS
    exact: float | None = eqx.field(static=True, default=None)

    @property
    def kinds(self):
        return normals(0, *(self.initial.shape[0],) * self.exercises)

    @property
    def discount(self):
        return jnp.exp(-self.rate * self.interval)

    def init(self, u):
        return jnp.zeros_like(self.initial)  # log(S / S_0): small numbers keep their digits in float32

    def transition(self, d, state, u):
        # The symmetric square root of the correlation matrix (1 - c) I + c 1 1': no variate beyond one per asset.
        own = jnp.sqrt(1 - self.correlation)
        common = jnp.sqrt(1 + (len(u) - 1) * self.correlation) - own
        normal = own * u + common * jnp.mean(u)
        return state + log_growth(self.rate, self.volatility, self.interval, normal)

    def price(self, state) -> Float[Array, ""]:
        """The mean of the assets' prices."""
        if self.mean == "geometric":
            return jnp.exp(jnp.mean(jnp.log(self.initial) + state))
        return jnp.mean(self.initial * jnp.exp(state))

    def reward(self, d, state):
        return jnp.maximum(self.strike - self.price(state), 0)

    def features(self, d, state):
        """Powers up to 4 of the mean price, and for several assets how far their prices are apart."""
        scale = jnp.mean(self.volatility) * jnp.sqrt(self.interval)
        price = (self.price(state) / self.strike - 1) / scale
        apart = jnp.mean(state**2) - jnp.mean(state) ** 2
        return jnp.concatenate([powers(price, 4), jnp.stack([apart, apart * price]) / scale**2])


def bermudan_put(
    exercises: int,
    assets: int = 1,
    mean: str = "arithmetic",
    *,
    initial: float = 100.0,
    strike: float = 100.0,
    rate: float = 0.05,
    volatility: float = 0.2,
    correlation: float = 0.0,
    interval: float = 1.0,
    dtype=jnp.float32,
) -> BermudanPut:
    """A put on like assets; `exact` is its value for one asset and for the geometric mean, else None.

    Args:
      exercises: n, in 1..6: it may be exercised at 0, interval, ..., n interval.
      assets: M >= 1.
      mean: "arithmetic" or "geometric".
      initial, strike: in one currency, > 0.
      rate, interval: per unit of time, and in units of time, > 0 (the rate may be any number).
      volatility: > 0.
      correlation: in [0, 1).

    Raises: ValueError for a number out of range.
    """
    validate.require(1 <= exercises <= 6, "exercises", "lie in 1..6", exercises)
    validate.at_least("assets", assets, 1)
    validate.one_of("mean", mean, MEANS)
    for name, value in (("initial", initial), ("strike", strike), ("volatility", volatility), ("interval", interval)):
        validate.positive(name, value)
    validate.finite("rate", rate)
    validate.require(0 <= correlation < 1, "correlation", "lie in [0, 1)", correlation)
    exact = None
    if assets == 1 or mean == "geometric":
        spread = volatility * math.sqrt((1 - correlation) / assets + correlation) if assets > 1 else volatility
        drift = rate - volatility**2 / 2
        exact = put_value(initial, strike, rate, drift, spread, interval, exercises)
    return BermudanPut(
        jnp.full(assets, initial, dtype), jnp.asarray(strike, dtype), jnp.asarray(rate, dtype),
        jnp.full(assets, volatility, dtype), jnp.asarray(correlation, dtype), jnp.asarray(interval, dtype),
        exercises, mean, exact,
    )  # fmt: skip


def put_value(
    initial: float, strike: float, rate: float, drift: float, spread: float, interval: float, exercises: int
) -> float:
    """The put on one price whose logarithm gains drift t + spread sqrt(t) Z, by backward integration in float64.

    At every date one exercises below a boundary, where the reward and the value of going on meet. Above it the value of
    going on is smooth, and Gauss-Legendre's rule has it to rounding; below it the integral of strike - price has a
    closed form. No grid is interpolated.

    Args:
      initial, strike: > 0.
      rate: of discount, per unit of time.
      drift, spread: of the logarithm, per unit of time and per its square root; drift + spread**2 / 2 <= rate.
      interval: between exercise dates 0, 1, ..., `exercises`.

    Returns:
      the value at date 0, exercise at once included; relative error about 1e-10.
    """
    validate.require(
        drift + spread**2 / 2 <= rate + 1e-12, "drift", "be at most rate - spread**2 / 2: no lower boundary else", drift
    )
    step, width, discount = drift * interval, spread * math.sqrt(interval), math.exp(-rate * interval)
    # No date ends further away than all intervals in a row.
    reach = exercises * (abs(step) + _REACH * width)
    boundary, nodes, values = math.log(strike), np.zeros(0), np.zeros(0)  # the last date: nothing beyond the strike

    def going_on(x):
        """Discounted mean of the next date's value, from log price x `[...]`, given what the next date looks like."""
        x = np.asarray(x, np.float64)
        z = (boundary - x - step) / width
        exercised = strike * special.ndtr(z) - np.exp(x + step + width**2 / 2) * special.ndtr(z - width)
        gap = (nodes - x[..., None] - step) / width
        kept = np.sum(values * np.exp(-(gap**2) / 2), axis=-1) / (width * math.sqrt(2 * math.pi))
        return discount * (exercised + kept)

    for _ in range(exercises - 1):
        low, high = math.log(strike) - reach, math.log(strike)
        excess = lambda x: strike - math.exp(x) - float(going_on(x))  # noqa: E731
        found = optimize.brentq(excess, low, high, xtol=1e-14) if excess(low) > 0 else low
        points, weights = _panels(found, max(found, math.log(initial)) + reach)
        boundary, nodes, values = found, points, weights * going_on(points)
    return max(strike - initial, float(going_on(math.log(initial))), 0.0)


def _panels(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of Gauss and Legendre in equal parts of [low, high]."""
    x, w = special.roots_legendre(_POINTS)
    edges = np.linspace(low, high, _PANELS + 1)
    half = (edges[1:] - edges[:-1])[:, None] / 2
    return (edges[:-1, None] + half * (1 + x)).ravel(), (half * w).ravel()


def black_scholes(price, strike, rate, volatility, maturity, *, call: bool):
    """A European option on one asset, NumPy or JAX numbers alike in float64: `[...]`.

    Args:
      price, strike, volatility, maturity: > 0.
    """
    width = volatility * np.sqrt(maturity)
    upper = (np.log(price / strike) + rate * maturity) / width + width / 2
    sign = 1 if call else -1
    due = strike * np.exp(-rate * maturity)
    return sign * (price * special.ndtr(sign * upper) - due * special.ndtr(sign * (upper - width)))
