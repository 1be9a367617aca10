"""What is compared on an instance: roundings of LP-OnOpt's solution, policies at prices, and the philosopher.

Values are exact where the law of the free set can be enumerated (n <= 12), otherwise means over simulated runs. The
policies that need the ex-ante LP (static prices, single offers) get its optimum from the host: `ex_ante_values`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from research.core.types import Array, Float, Key
from research.matching import (
    exact_law,
    oracles,
    philosopher,
    policies,
    problems,
    rates,
    relaxation,
    rounding,
    simulation,
)

__all__ = ["ROUNDINGS", "Relaxed", "ex_ante_values", "exact_values", "relaxed", "simulated_values"]

#: Roundings of the optimum of LP-OnOpt: rescaling and mode. Only the first has the guarantee 0.678.
ROUNDINGS = {
    "closed_form": (rates.EDGE, "closed_form"),
    "unscaled": (rates.VERTEX, "closed_form"),
    "keep": (rates.VERTEX, "keep"),
}


class Relaxed(NamedTuple):
    """What the relaxation gives a policy."""

    x: Float[Array, "n T *J"]
    values: Float[Array, "n T+1"]
    primal: Float[Array, ""]
    dual: Float[Array, ""]


def relaxed(problem: problems.Problem, tolerance: float) -> Relaxed:
    """LP-OnOpt to the given relative gap; below 1e-5 by the parameters that reach it."""
    params = relaxation.PRECISE if tolerance < 1e-5 else relaxation.Params()
    found = relaxation.solve(problem, params, tolerance=tolerance)
    return Relaxed(found.x, found.values, found.primal, found.dual)


def _rounded(problem, x, rescaling):
    return rounding.from_allocation(problem, x, rescaling)


def _at_prices(problem, found):
    return {"greedy": policies.greedy(problem), "bid_price": policies.bid_price(problem, found.values)}


def exact_values(problem: problems.Problem, found: Relaxed) -> dict[str, Float[Array, ""]]:
    """Expected value of every contender, by name; what differs in numbers only is mapped over, and compiled once."""

    def of_rounding(rescaling, mode):
        return exact_law.law(_rounded(problem, found.x, rescaling), rounding.Params(mode=mode), validate=False).value

    values = {}
    for mode in dict.fromkeys(mode for _, mode in ROUNDINGS.values()):
        chosen = {name: rescaling for name, (rescaling, other) in ROUNDINGS.items() if other == mode}
        stacked = jax.tree.map(lambda *leaves: jnp.asarray(leaves, found.x.dtype), *chosen.values())
        each = jax.lax.map(lambda rescaling, mode=mode: of_rounding(rescaling, mode), stacked)
        values |= dict(zip(chosen, each, strict=True))
    prices = {name: policy.prices for name, policy in _at_prices(problem, found).items()}
    shape = found.x.shape[:2]
    stacked = jnp.stack([jnp.broadcast_to(price, shape) for price in prices.values()])
    each = jax.lax.map(lambda price: _choice_value(problem, price), stacked)
    values |= dict(zip(prices, each, strict=True))
    return values | {"philosopher": philosopher.solve(problem, validate=False).value}


def _choice_value(problem, prices):
    policy = policies.Problem(problem.weights, problem.arrivals, prices)
    unused = rounding.Problem(problem.weights, problem.arrivals, jnp.zeros(problem.allocation_shape, prices.dtype))
    return exact_law.law_of_choices(unused, policies.choices(policy)).value


def simulated_values(problem: problems.Problem, found: Relaxed, keys: Key) -> dict[str, Float[Array, ""]]:
    """Mean value of every contender but the philosopher over one run for each key; the same arrivals for all."""
    values = {
        name: jnp.mean(
            simulation.simulate(_rounded(problem, found.x, rescaling), keys, mode=mode, validate=False).value
        )
        for name, (rescaling, mode) in ROUNDINGS.items()
    }
    for name, policy in _at_prices(problem, found).items():
        play = jax.vmap(lambda key, policy=policy: policies.run(policy, policies.Params(), key, validate=False).value)
        values[name] = jnp.mean(play(keys))
    return values


def ex_ante_values(batch: problems.Problem) -> dict[str, Float[np.ndarray, " B"]]:
    """On the host: `fgl` and `half`, exactly, on the optimum of the ex-ante LP; and both LPs by HiGHS."""
    instances = [jax.tree.map(lambda leaf, b=b: leaf[b], batch) for b in range(batch.weights.shape[0])]
    ex_ante = [oracles.ex_ante_lp(one) for one in instances]
    x = jnp.asarray(np.stack([solved.x for solved in ex_ante]), batch.weights.dtype)

    @jax.jit
    @jax.vmap
    def values(problem, x):
        offers = rounding.Problem(problem.weights, problem.arrivals, rates.half_rates(problem, x))
        single = exact_law.law(offers, rounding.Params(mode="single"), validate=False).value
        return {"value/fgl": _choice_value(problem, policies.fgl(problem, x).prices), "value/half": single}

    online = np.array([oracles.online_lp(one).value for one in instances])
    found = {name: np.asarray(array) for name, array in values(batch, x).items()}
    return found | {"ex_ante": np.array([solved.value for solved in ex_ante]), "highs": online}
